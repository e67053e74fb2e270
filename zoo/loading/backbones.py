"""Which networks of transformers can teach, and what each family calls its pooled features.

Names only: nothing here imports torch or transformers, so that a crawl can ask.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.loading.transformers.families import encoder, refusal

_CLASSIFIER = re.compile(
    r"\w{1,64}ForImageClassification(WithTeacher|Learned|Fourier|ConvProcessing)?"
)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network without a head, or the vision tower of a larger one.

    Attributes
    ----------
    built : str
        The class of transformers that is built.
    pooling : str
        What becomes of its output, a key of ``POOLINGS``.
    part : str
        The key of ``config.json`` under which the tower's own config stands; empty: the whole.
    prefix : str
        What the names of the tower's tensors begin with in the file; other tensors are not read.
    pooler : bool, optional
        Whether the constructor is asked for a pooling layer; None: it has no such argument.
    constant : tuple of str
        Tensors that may be missing: they then keep the constants 1 and 0 of a fresh layer norm.
    """

    built: str
    pooling: str
    part: str = ""
    prefix: str = ""
    pooler: bool | None = None
    constant: tuple[str, ...] = ()


# What is taken, in words, by name of the pooling.
POOLINGS = {
    "cls": "the class token after the last layer norm",
    "cls and patches": "the class token, then the mean of the patch tokens",
    "mean": "the mean of all tokens",
    "patches": "the mean of the patch tokens",
    "pooler": "the family's own pooled output (`pooler_output`)",
    "map": "the mean over the last feature map",
    "cls of the last stage": "the class token of the last stage",
    "summary": "the summary tokens",
    "layers and tokens": "of a text: the mean over the outputs of all layers and over its tokens",
}
# timm's image towers of CLIP and its like end in a projection to the space shared with texts, which
# timm counts as classes: the tags of their weights, and the widths of that space.
_TOWER_TAG = re.compile(
    r"(\w+_)?(openai|yfcc15m|cc12m|merged2b|datacompxl|datacomp1b_clip|metaclip\w*|dfn\d\w*|apple_mclip\w*"
    r"|clip_laion\w*|laion\w+|tinyclip_\w+)(_\w+)?"
)
_EMBEDDING_WIDTHS = (384, 512, 640, 768, 1024, 1152, 1280)
_NORM = ("pooler.layernorm.weight", "pooler.layernorm.bias")

# Networks that stand alone, by the class that config.json names. Where transformers has a
# classifier of the family, the pooling is what the last layer of that classifier sees.
_ALONE = {
    "AlignVisionModel": Backbone(built="AlignVisionModel", pooling="pooler"),
    "AltCLIPVisionModel": Backbone(built="AltCLIPVisionModel", pooling="pooler"),
    "Aimv2VisionModel": Backbone(built="Aimv2VisionModel", pooling="pooler"),
    "BeitModel": Backbone(
        built="BeitModel",
        pooling="pooler",
        pooler=True,
        constant=_NORM,
    ),
    "BitModel": Backbone(built="BitModel", pooling="pooler"),
    "BlipVisionModel": Backbone(built="BlipVisionModel", pooling="pooler"),
    "Blip2VisionModel": Backbone(built="Blip2VisionModel", pooling="pooler"),
    "CLIPVisionModel": Backbone(built="CLIPVisionModel", pooling="pooler"),
    "ChineseCLIPVisionModel": Backbone(built="ChineseCLIPVisionModel", pooling="pooler"),
    "ConvNextModel": Backbone(built="ConvNextModel", pooling="pooler"),
    "ConvNextV2Model": Backbone(built="ConvNextV2Model", pooling="pooler"),
    "CvtModel": Backbone(built="CvtModel", pooling="cls of the last stage"),
    "DINOv3ConvNextModel": Backbone(built="DINOv3ConvNextModel", pooling="pooler"),
    "DINOv3ViTModel": Backbone(built="DINOv3ViTModel", pooling="pooler"),
    "Data2VecVisionModel": Backbone(
        built="Data2VecVisionModel", pooling="pooler", pooler=True, constant=_NORM
    ),
    "DeiTModel": Backbone(built="DeiTModel", pooling="cls", pooler=False),
    "DinatModel": Backbone(built="DinatModel", pooling="pooler"),
    "Dinov2Model": Backbone(built="Dinov2Model", pooling="cls and patches"),
    "Dinov2WithRegistersModel": Backbone(
        built="Dinov2WithRegistersModel", pooling="cls and patches"
    ),
    "DonutSwinModel": Backbone(built="DonutSwinModel", pooling="pooler"),
    "EfficientNetModel": Backbone(built="EfficientNetModel", pooling="pooler"),
    "FlavaImageModel": Backbone(built="FlavaImageModel", pooling="cls", pooler=False),
    "FocalNetModel": Backbone(built="FocalNetModel", pooling="pooler"),
    "HieraModel": Backbone(
        built="HieraModel",
        pooling="pooler",
        pooler=True,
        constant=_NORM,
    ),
    "IJepaModel": Backbone(built="IJepaModel", pooling="mean", pooler=False),
    "LevitModel": Backbone(built="LevitModel", pooling="pooler"),
    "MLCDVisionModel": Backbone(built="MLCDVisionModel", pooling="pooler"),
    "MetaClip2VisionModel": Backbone(built="MetaClip2VisionModel", pooling="pooler"),
    "MobileNetV1Model": Backbone(built="MobileNetV1Model", pooling="pooler"),
    "MobileNetV2Model": Backbone(built="MobileNetV2Model", pooling="pooler"),
    "MobileViTModel": Backbone(built="MobileViTModel", pooling="pooler"),
    "MobileViTV2Model": Backbone(built="MobileViTV2Model", pooling="pooler"),
    "PixioModel": Backbone(built="PixioModel", pooling="pooler"),
    "PoolFormerModel": Backbone(built="PoolFormerModel", pooling="map"),
    "PvtModel": Backbone(built="PvtModel", pooling="cls"),
    "PvtV2Model": Backbone(built="PvtV2Model", pooling="map"),
    "RadioModel": Backbone(built="RadioModel", pooling="summary"),
    "RegNetModel": Backbone(built="RegNetModel", pooling="pooler"),
    "ResNetModel": Backbone(built="ResNetModel", pooling="pooler"),
    "SegformerModel": Backbone(built="SegformerModel", pooling="map"),
    "Siglip2VisionModel": Backbone(built="Siglip2VisionModel", pooling="pooler"),
    "SiglipVisionModel": Backbone(built="SiglipVisionModel", pooling="pooler"),
    "SwiftFormerModel": Backbone(built="SwiftFormerModel", pooling="map"),
    "SwinModel": Backbone(built="SwinModel", pooling="pooler"),
    "Swinv2Model": Backbone(built="Swinv2Model", pooling="pooler"),
    "TextNetModel": Backbone(built="TextNetModel", pooling="pooler"),
    "Tipsv2VisionModel": Backbone(built="Tipsv2VisionModel", pooling="pooler"),
    "ViTMAEModel": Backbone(built="ViTMAEModel", pooling="patches"),
    "ViTMSNModel": Backbone(built="ViTMSNModel", pooling="cls"),
    "ViTModel": Backbone(built="ViTModel", pooling="cls", pooler=False),
}

# Larger networks: (the network in it, the key of its config, what its tensors begin with).
_WITHIN = {
    "AlignModel": ("AlignVisionModel", "vision_config", "vision_model."),
    "AltCLIPModel": ("AltCLIPVisionModel", "vision_config", "vision_model."),
    "Aimv2Model": ("Aimv2VisionModel", "vision_config", "vision_model."),
    "BeitForMaskedImageModeling": ("BeitModel", "", "beit."),
    "BlipForImageTextRetrieval": ("BlipVisionModel", "vision_config", "vision_model."),
    "BlipModel": ("BlipVisionModel", "vision_config", "vision_model."),
    "Blip2ForImageTextRetrieval": ("Blip2VisionModel", "vision_config", "vision_model."),
    "Blip2VisionModelWithProjection": ("Blip2VisionModel", "vision_config", "vision_model."),
    "CLIPModel": ("CLIPVisionModel", "vision_config", "vision_model."),
    "CLIPVisionModelWithProjection": ("CLIPVisionModel", "", "vision_model."),
    "ChineseCLIPModel": ("ChineseCLIPVisionModel", "vision_config", "vision_model."),
    "DeiTForMaskedImageModeling": ("DeiTModel", "", "deit."),
    "FlavaForPreTraining": ("FlavaImageModel", "image_config", "flava.image_model."),
    "FlavaModel": ("FlavaImageModel", "image_config", "image_model."),
    "FocalNetForMaskedImageModeling": ("FocalNetModel", "", "focalnet."),
    "HieraForPreTraining": ("HieraModel", "", "hiera."),
    "MetaClip2Model": ("MetaClip2VisionModel", "vision_config", "vision_model."),
    "MetaClip2VisionModelWithProjection": ("MetaClip2VisionModel", "", "vision_model."),
    "Siglip2Model": ("Siglip2VisionModel", "vision_config", "vision_model."),
    "SiglipModel": ("SiglipVisionModel", "vision_config", "vision_model."),
    "SwinForMaskedImageModeling": ("SwinModel", "", "swin."),
    "Swinv2ForMaskedImageModeling": ("Swinv2Model", "", "swinv2."),
    "ViTForMaskedImageModeling": ("ViTModel", "", "vit."),
    "ViTMAEForPreTraining": ("ViTMAEModel", "", "vit."),
}

# Why others are refused, by what their class is called; the first that matches is said.
_OTHERS = (
    (
        r"ImageGPT\w*",
        "takes colour clusters instead of pixels",
    ),
    (
        r"\w*(ForVideo\w*|VideoMAE\w*|Vivit\w*|Timesformer\w*|XCLIP\w*|VJEPA\w*|VideoPrism\w*)|PeVideo\w*",
        "is a video model: it takes clips and not single images",
    ),
    (
        r"\w*(Detection|Detr\w*|Yolos\w*|OwlViT\w*|Owlv2\w*|VitDet\w*|TableTransformer\w*)",
        "is an object detector, no image classifier",
    ),
    (
        r"\w*(Segmentation|MaskGeneration|ImageMatting)|(Sam|Sam[23]|SamHQ|EdgeTam|CLIPSeg|GroupViT)(?=[A-Z])\w*",
        "is a segmentation model, no image classifier",
    ),
    (
        r"\w*(DepthEstimation|NormalEstimation|PointmapEstimation|KeypointDetection|KeypointMatching"
        r"|PoseEstimation|DensePrediction)|(DPT|GLPN|DepthPro|ZoeDepth)\w*",
        "estimates depth or geometry, no image classifier",
    ),
    (
        r"\w*(ImageSuperResolution|ImageToImage|Inpainting)|Swin2SR\w*",
        "makes images from images, no image classifier",
    ),
    (
        r"\w*(CTC|RNNT|TDT|Audio\w*|Speech\w*|XVector|Spectrogram|Waveform)|(Wav2Vec2|Hubert|Whisper|WavLM|Clap|AST"
        r"|Encodec|Moonshine|UniSpeech)(?=[A-Z])\w*",
        "is an audio model",
    ),
    (
        r"\w*For(CausalLM|SequenceClassification|TokenClassification|MaskedLM|QuestionAnswering|MultipleChoice"
        r"|NextSentencePrediction|Seq2SeqLM|TextEncoding)|\w*(TextModel|TextModelWithProjection|LMHeadModel)"
        r"|(Bert|Roberta|XLMRoberta|DistilBert|Albert|Electra|MPNet|Deberta|DebertaV2|T5|MT5|GPT2|Llama|Mistral"
        r"|Qwen[23]|Gemma[23]?|Bart|MBart|ModernBert)(Model|EncoderModel)",
        "is a text model, and no encoder that is known here",
    ),
)


def first_architecture(config: Mapping[str, Any]) -> str | None:
    """The class that a transformers config names first; None where it names none."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    return name if isinstance(name, str) and re.fullmatch(r"\w{1,80}", name) else None


def is_classifier(architecture: str | None) -> bool:
    """Whether transformers' class of that name is an image classifier, by its name."""
    return bool(_CLASSIFIER.fullmatch(architecture or ""))


def backbone(architecture: str | None) -> Backbone | None:
    """How the network of that name is built and pooled; None where it is no known backbone."""
    if architecture in _WITHIN:
        built, part, prefix = _WITHIN[architecture]
        alone = _ALONE[built]
        return Backbone(
            built=built,
            pooling=alone.pooling,
            part=part,
            prefix=prefix,
            pooler=alone.pooler,
            constant=alone.constant,
        )
    return _ALONE.get(architecture or "")


def known_backbone(name: str | None) -> Backbone | None:
    """How the network without a head of that class name is built, of images or of texts."""
    text = encoder(name)
    if text is None or text.has_head:
        return backbone(name)
    return Backbone(
        built=text.built,
        pooling="layers and tokens",
        pooler=False if text.family.pooler else None,
    )


def backbones() -> tuple[str, ...]:
    """The class names of all known backbones, in alphabetical order."""
    return tuple(sorted(_ALONE | _WITHIN))


def obstacle(config: Mapping[str, Any], architecture: str | None) -> str | None:
    """Why the network of a transformers ``config.json`` cannot teach, None where it can.

    ``architecture`` is the class that it names.
    """
    if config.get("_diffusers_version") or (config.get("_class_name") and not architecture):
        return "is a part of a diffusion pipeline, which makes images: no image classifier"
    if not architecture:
        return "config.json names no architecture"
    text = encoder(architecture)
    if text:
        return _head_obstacle(config, architecture, sample="a text") if text.has_head else None
    teaches = is_classifier(architecture) or backbone(architecture)
    channels = tower_config(config, architecture).get("num_channels")
    if teaches and isinstance(channels, int) and channels != 3:
        return f"the network takes images of {channels} channels, only colour images are fed"
    if is_classifier(architecture):
        return _head_obstacle(config, architecture)
    if backbone(architecture):
        return None
    peculiar = refusal(architecture)
    if peculiar:
        return f"{architecture} is a text model that {peculiar}"
    for pattern, reason in _OTHERS:
        if re.fullmatch(pattern, architecture):
            return f"{architecture} {reason}"
    if architecture.endswith(
        ("ForConditionalGeneration", "ForVisionText2Text")
    ) or "Vision2Seq" in (architecture):
        if "vision_config" in config or "encoder" in config:
            return f"{architecture} is a language model with vision; not an image encoder"
        return f"{architecture} is a text model that writes, and no encoder"
    if architecture == "VisionEncoderDecoderModel":
        return f"{architecture} is a language model with vision; not an image encoder"
    return f"{architecture} is no image classifier and no image backbone that is known here"


def _head_obstacle(
    config: Mapping[str, Any],
    architecture: str,
    *,
    sample: str = "an image",
) -> str | None:
    """Why a classifier's answers about ``sample`` are no probabilities of classes, if so."""
    if architecture.startswith("ImageGPT"):
        return f"{architecture} takes colour clusters instead of pixels"
    if architecture.startswith("ShieldGemma"):
        return f"{architecture} is a language model with vision; not an image encoder"
    problem = config.get("problem_type")
    if problem == "multi_label_classification":
        return f"its head is multi-label (several answers {sample}), one class {sample} is expected"
    names = config.get("id2label")
    count = config.get("num_labels", len(names) if isinstance(names, (Mapping, list)) else None)
    if problem == "regression" or count == 1:
        return f"its head is a regression (one number {sample}), classes are expected"
    return None


def is_embedding(architecture: str, tag: str, count: int | None) -> bool:
    """Whether the ``count`` outputs of timm's ``architecture`` are no classes but an embedding.

    ``tag`` is that of its weights. So it is for the image towers of CLIP and its like, as long as
    they were not trained further on classes (``ft_in1k``).
    """
    if count not in _EMBEDDING_WIDTHS or "ft_in" in tag:
        return False
    if architecture.startswith("vit_pe_core"):
        return tag in ("", "fb")
    return bool(_TOWER_TAG.fullmatch(tag))


def feature_width(config: Mapping[str, Any], architecture: str | None) -> int | None:
    """D of a backbone as far as its config tells; None where it does not."""
    known = backbone(architecture)
    if encoder(architecture):
        width = config.get("hidden_size", config.get("dim"))  # DistilBERT calls it so
        return width if isinstance(width, int) else None
    if known is None:
        return None
    part: Any = config.get(known.part) if known.part else config
    if not isinstance(part, Mapping) or not isinstance(width := part.get("hidden_size"), int):
        return None
    if known.pooling == "summary":
        return None
    return 2 * width if known.pooling == "cls and patches" else width


def tower_config(config: Mapping[str, Any], architecture: str | None) -> Mapping[str, Any]:
    """The part of ``config`` that describes the images' network: the whole, but for towers.

    Older files of towers leave out the part's ``model_type``; then it is that of the whole.
    """
    known = backbone(architecture)
    if not (known and known.part):
        return config
    part = config.get(known.part)
    kind = {"model_type": config.get("model_type")}
    return kind | dict(part) if isinstance(part, Mapping) else kind
