"""Every image family of transformers: tiny, random and saved as its library saves it, then loaded
here and compared with what the library itself answers, or refused with the right word.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_families import CONFIGS, NAMES, SIDE, TEXT, save, shake, tiny
from zoo.errors import TeacherError
from zoo.loading.backbones import (
    POOLINGS,
    backbone,
    backbones,
    feature_width,
    obstacle,
    tower_config,
)
from zoo.sources.folder import card as folder_card
from zoo.teacher import Teacher

pytestmark = pytest.mark.journey

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# Families that cannot be tried, each with the reason.
UNTRIED = {
    "Dinat": "it needs the package natten",
    "ImageGPT": "refused: it takes colour clusters",
    "ShieldGemma2": "refused: a language model",
    "TimmWrapper": "read as the timm network that it wraps, see test_zoo_folder.py",
}
# Image networks that are refused for no better reason than that nothing is known of their pooling.
UNKNOWN = {
    "Cohere2VisionModel",
    "Llama4VisionModel",
    "MllamaVisionModel",
    "TimmBackbone",
    "Tipsv2Model",
}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(level)
    logging.enable_progress_bar()


def pixels(count: int = 2) -> Any:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def head_inputs(network: Any, inputs: Any) -> tuple[Any, Any]:
    """What the last layers with one output a class see, averaged, and the logits."""
    seen: list[Any] = []
    classes = network.config.num_labels
    heads = [
        layer
        for layer in network.modules()
        if isinstance(layer, torch.nn.Linear) and layer.out_features == classes
    ]
    hooks = [
        head.register_forward_pre_hook(lambda _layer, values: seen.append(values[0]))
        for head in heads
    ]
    with torch.no_grad():
        if type(network).__name__.startswith("Siglip2"):
            output = network(*siglip2_inputs(inputs))
        else:
            output = network(pixel_values=inputs)
    for hook in hooks:
        hook.remove()
    features = torch.stack(seen).mean(0)
    logits = output.logits if "logits" in output else output.last_hidden_state
    return (features.mean(1) if features.ndim == 3 else features), logits


def siglip2_inputs(inputs: Any) -> tuple[Any, Any, Any]:
    """Patches as the library's own processor cuts them, their mask and their grid."""
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    patches = [convert_image_to_patches(image.numpy(), 16) for image in inputs]
    grid = torch.tensor([[4, 4]] * len(patches))
    return torch.tensor(np.stack(patches)), torch.ones(len(patches), 16), grid


def classifiers() -> list[str]:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as mapping,
    )

    names: list[str] = []
    for entry in mapping.values():
        names += [entry] if isinstance(entry, str) else entry
    return sorted(names)


def family_of(name: str) -> str:
    return re.sub(r"(ForImageClassification\w*|Model)$", "", name)


TRIED = [name for name in classifiers() if family_of(name) not in UNTRIED]


@pytest.mark.journey
@pytest.mark.parametrize("name", TRIED)
def test_a_classifier_answers_as_in_its_library(tmp_path: Path, name: str) -> None:
    if name.startswith(("CLIP", "MetaClip2", "Siglip")):
        prefix = name.removesuffix("ForImageClassification")
        changes = {
            "vision_config": CONFIGS[f"{prefix}VisionConfig"],
            "text_config": TEXT,
        }
        family = getattr(transformers, name)
        torch.manual_seed(0)
        network = family(family.config_class(**changes, id2label=NAMES)).eval()
    else:
        network = tiny(name, id2label=NAMES)
    card = save(network, tmp_path / "m")
    assert (card.loadable, card.num_classes, card.labels) == (True, 3, tuple(NAMES.values()))
    teacher = Teacher.load(card)
    features, logits = teacher.forward(pixels())
    wanted, answers = head_inputs(network, pixels())
    assert torch.allclose(logits, answers, atol=1e-5)
    assert torch.allclose(features, wanted, atol=1e-5)
    assert teacher.labels == tuple(NAMES.values())


# --- backbones


def alone() -> list[str]:
    return [name for name in backbones() if backbone(name).built == name]  # type: ignore[union-attr]


def reference(network: Any, name: str, inputs: Any) -> Any:
    """The pooled features, from the library's own output; None: its classifier says."""
    with torch.no_grad():
        if name == "ViTMAEModel":
            network.config.mask_ratio = 0.0
            hidden = network(inputs, noise=torch.arange(16.0).expand(2, -1)).last_hidden_state
            return hidden[:, 1:].mean(1)
        if name == "Siglip2VisionModel":
            return network(*siglip2_inputs(inputs)).pooler_output
        if name == "RadioModel":
            return network(inputs).summary
        if name == "CvtModel":
            return network(inputs).cls_token_value.mean(1)
        if name == "FlavaImageModel":
            return network(inputs).last_hidden_state[:, 0]
        if name in ("PoolFormerModel", "SwiftFormerModel"):
            return network(inputs).last_hidden_state.mean((2, 3))
        return network(pixel_values=inputs).pooler_output.flatten(1)


@pytest.mark.journey
@pytest.mark.parametrize("name", [name for name in alone() if family_of(name) not in UNTRIED])
def test_a_backbones_features_are_what_its_familys_classifier_sees(
    tmp_path: Path, name: str
) -> None:
    classifier = name.removesuffix("Model") + "ForImageClassification"
    has_own_norm = name in (
        "CvtModel",
        "PoolFormerModel",
        "SwiftFormerModel",
        "TextNetModel",
        "LevitModel",
    )
    if hasattr(transformers, classifier) and not has_own_norm:
        whole = tiny(classifier, id2label=NAMES)
        wanted, _ = head_inputs(whole, pixels())
        network = whole.base_model
    else:
        network = tiny(name)
        wanted = reference(network, name, pixels())
    card = save(network, tmp_path / "m")
    config = json.loads((tmp_path / "m/config.json").read_text())
    assert config["architectures"] == [name]
    assert (card.loadable, card.num_classes, card.labels) == (True, 0, None)
    teacher = Teacher.load(card)
    features, logits = teacher.forward(pixels())
    assert logits is None and teacher.labels is None and teacher.classifier is None
    assert torch.allclose(features, wanted, atol=1e-5)
    assert card.feature_dim in (None, teacher.feature_dim)
    assert torch.equal(features, teacher.forward(pixels()).features)


WHOLE = {  # larger networks: the class of their config, and the key of the tower's config
    "AlignModel": ("AlignConfig", "vision_config"),
    "AltCLIPModel": ("AltCLIPConfig", "vision_config"),
    "Aimv2Model": ("Aimv2Config", "vision_config"),
    "BlipModel": ("BlipConfig", "vision_config"),
    "BlipForImageTextRetrieval": ("BlipConfig", "vision_config"),
    "CLIPModel": ("CLIPConfig", "vision_config"),
    "ChineseCLIPModel": ("ChineseCLIPConfig", "vision_config"),
    "FlavaModel": ("FlavaConfig", "image_config"),
    "MetaClip2Model": ("MetaClip2Config", "vision_config"),
    "Siglip2Model": ("Siglip2Config", "vision_config"),
    "SiglipModel": ("SiglipConfig", "vision_config"),
}
BUILT_LARGE = {
    "Blip2ForImageTextRetrieval": "its query former has no small config",
    "Blip2VisionModelWithProjection": "its query former has no small config",
    "FlavaForPreTraining": "its code book has no small config",
}


def whole(name: str) -> Any:
    known = backbone(name)
    assert known is not None
    vision = getattr(transformers, known.built).config_class
    torch.manual_seed(0)
    if name not in WHOLE:
        return tiny(name)
    config_name, part = WHOLE[name]
    config = getattr(transformers, config_name)
    parts = {part: CONFIGS[vision.__name__], "text_config": TEXT}
    if name == "FlavaModel":
        parts["multimodal_config"] = TEXT
    network = getattr(transformers, name)(config(**parts)).eval()
    shake(network)
    return network


@pytest.mark.journey
@pytest.mark.parametrize(
    "name", [name for name in backbones() if name not in alone() and name not in BUILT_LARGE]
)
def test_only_the_tower_of_a_larger_network_is_built_and_read(tmp_path: Path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    network = whole(name)
    save(network, tmp_path / "m")
    known = backbone(name)
    assert known is not None
    tower = network.get_submodule(known.prefix.rstrip("."))
    wanted = reference_of_tower(tower, known.built, pixels())
    file = tmp_path / "m" / "model.safetensors"
    state = load_file(file)
    for key, tensor in state.items():  # what is not read may be spoilt
        if not key.startswith(known.prefix) and tensor.is_floating_point():
            tensor.fill_(float("nan"))
    save_file(state, file, metadata={"format": "pt"})
    card = folder_card(tmp_path / "m")
    teacher = Teacher.load(card)
    assert type(teacher.module).__name__ == known.built
    features, logits = teacher.forward(pixels())
    assert logits is None
    assert torch.allclose(features, wanted, atol=1e-5)
    assert card.feature_dim in (None, teacher.feature_dim)


def reference_of_tower(tower: Any, built: str, inputs: Any) -> Any:
    """As ``reference``, for a tower that was built without its pooling layer."""
    if built in ("ViTModel", "DeiTModel"):
        with torch.no_grad():
            return tower(inputs).last_hidden_state[:, 0]
    if built in ("BeitModel", "HieraModel"):  # a fresh layer norm of the mean
        if built == "HieraModel":
            whole_image = transformers.HieraModel(tower.config, add_pooling_layer=False).eval()
            whole_image.load_state_dict(tower.state_dict())
            with torch.no_grad():
                tokens = whole_image(inputs).last_hidden_state
        else:
            with torch.no_grad():
                tokens = tower(inputs).last_hidden_state[:, 1:]
        mean = tokens.mean(1)
        return torch.nn.functional.layer_norm(mean, mean.shape[1:], eps=tower.config.layer_norm_eps)
    if built in ("SwinModel", "Swinv2Model", "FocalNetModel"):
        with torch.no_grad():
            return tower(inputs).last_hidden_state.mean(1)
    return reference(tower, built, inputs)


def test_every_image_family_of_the_library_is_tried_or_has_its_reason() -> None:
    from transformers.models.auto import modeling_auto as auto

    known = set(TRIED) | set(backbones())
    names: set[str] = set()
    for mapping in (
        auto.MODEL_FOR_IMAGE_MAPPING_NAMES,
        auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING_NAMES,
    ):
        for entry in mapping.values():
            names |= {entry} if isinstance(entry, str) else set(entry)
    left = {name for name in names - known if family_of(name) not in UNTRIED}
    generic = {
        name: reason
        for name in sorted(left)
        if "no image classifier and no image backbone that is known"
        in (reason := obstacle({"vision_config": {}}, name) or "can be loaded")
    }
    assert generic.keys() <= UNKNOWN, generic
    assert all(obstacle({"vision_config": {}}, name) for name in left)


def test_each_pooling_is_described() -> None:
    assert {backbone(name).pooling for name in backbones()} <= POOLINGS.keys()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "config", "width"),
    [
        ("ViTModel", {"hidden_size": 384}, 384),
        ("Dinov2Model", {"hidden_size": 384}, 768),  # the class token and the mean of the patches
        ("CLIPModel", {"hidden_size": 5, "vision_config": {"hidden_size": 512}}, 512),
        ("CLIPModel", {"hidden_size": 5}, None),
        ("RadioModel", {"hidden_size": 384}, None),
        ("ResNetModel", {"hidden_sizes": [64, 128]}, None),
        ("ViTForImageClassification", {"hidden_size": 384}, None),
    ],
)
def test_the_width_of_features_as_far_as_a_config_tells(
    name: str, config: dict[str, Any], width: int | None
) -> None:
    assert feature_width(config, name) == width


def test_a_tower_has_its_own_config_and_the_kind_of_the_whole_where_it_names_none() -> None:
    whole = {"model_type": "clip", "vision_config": {"image_size": 32}}
    assert tower_config(whole, "CLIPModel") == {"model_type": "clip", "image_size": 32}
    whole["vision_config"] = {"model_type": "clip_vision_model"}
    assert tower_config(whole, "CLIPModel") == {"model_type": "clip_vision_model"}
    assert tower_config({"model_type": "vit"}, "ViTModel") == {"model_type": "vit"}


def test_a_network_within_another_is_pooled_as_the_one_that_stands_alone() -> None:
    alone, within = backbone("BeitModel"), backbone("BeitForMaskedImageModeling")
    assert alone is not None and within is not None
    assert within.prefix == "beit."
    assert dataclasses.replace(within, prefix="", part="") == alone
    assert alone.constant == ("pooler.layernorm.weight", "pooler.layernorm.bias")


def test_a_part_of_a_diffusion_pipeline_is_refused_whatever_it_is_called() -> None:
    reason = obstacle({"_diffusers_version": "0.30"}, "ViTForImageClassification")
    assert reason == "is a part of a diffusion pipeline, which makes images: no image classifier"


REFUSED = {
    "DetrForObjectDetection": "object detector",
    "YolosForObjectDetection": "object detector",
    "Owlv2ForObjectDetection": "object detector",
    "SegformerForSemanticSegmentation": "segmentation",
    "Mask2FormerForUniversalSegmentation": "segmentation",
    "SamModel": "segmentation",
    "CLIPSegForImageSegmentation": "segmentation",
    "DPTForDepthEstimation": "depth",
    "DepthAnythingForDepthEstimation": "depth",
    "VideoMAEForVideoClassification": "video model",
    "VideoMAEModel": "video model",
    "TimesformerModel": "video model",
    "BertForTokenClassification": "text model",
    "XLNetModel": "text model",
    "FNetModel": "padding",
    "FunnelModel": "pools",
    "LongformerModel": "windows",
    "LukeModel": "more than words",
    "LlamaForCausalLM": "text model",
    "T5ForConditionalGeneration": "text model",
    "CLIPTextModel": "text model",
    "Wav2Vec2ForCTC": "audio model",
    "ASTForAudioClassification": "audio model",
    "ImageGPTForImageClassification": "colour clusters",
    "Swin2SRForImageSuperResolution": "images from images",
    "NoSuchModel": "no image classifier and no image backbone",
}


@pytest.mark.parametrize(("name", "word"), REFUSED.items())
def test_other_networks_are_refused_with_their_word(name: str, word: str) -> None:
    assert word in (obstacle({}, name) or "")


@pytest.mark.parametrize(
    "name",
    [
        "LlavaForConditionalGeneration",
        "Qwen2VLForConditionalGeneration",
        "ShieldGemma2ForImageClassification",
    ],
)
def test_a_language_model_with_vision_is_no_image_encoder(name: str) -> None:
    reason = obstacle({"vision_config": {"hidden_size": 8}}, name)
    assert reason == f"{name} is a language model with vision; not an image encoder"


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"problem_type": "multi_label_classification"}, "multi-label"),
        ({"problem_type": "regression"}, "regression"),
        ({"num_labels": 1}, "regression"),
        ({"id2label": {"0": "age"}}, "regression"),
        ({"num_channels": 1}, "takes images of 1 channels, only colour images are fed"),
        ({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.30"}, "diffusion"),
    ],
)
def test_heads_that_do_not_classify_are_refused(config: dict[str, Any], word: str) -> None:
    name = None if word == "diffusion" else "ViTForImageClassification"
    assert word in (obstacle(config, name) or "")


HOSTILE: list[dict[str, Any]] = [
    {"auto_map": {"AutoModel": "evil.Model"}},
    {"model_type": "bert"},
    {"image_size": 1_000_000},
    {"hidden_size": 900_000},
    {"num_hidden_layers": 90_000},
    {"num_hidden_layers": 3},
    {"patch_size": 10**9},
    {"patch_size": 0},
]


@pytest.mark.journey
@pytest.mark.parametrize("changes", HOSTILE)
def test_a_hostile_backbone_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    card = save(tiny("ViTModel"), tmp_path / "m")
    file = tmp_path / "m" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(TeacherError):
        Teacher.load(card)


@pytest.mark.journey
@pytest.mark.parametrize("name", ["ViTModel", "CLIPModel", "SiglipModel", "Dinov2Model"])
def test_a_backbone_looks_at_smaller_images(tmp_path: Path, name: str) -> None:
    network = whole(name) if name in WHOLE else tiny(name)
    teacher = Teacher.load(save(network, tmp_path / "m"), largest=SIDE // 2)
    assert teacher.preprocessing.input_size == (SIDE // 2, SIDE // 2)
    tower = network.get_submodule("vision_model") if name in WHOLE else network
    small = torch.randn(2, 3, SIDE // 2, SIDE // 2, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        how = {} if name == "Dinov2Model" else {"interpolate_pos_encoding": True}
        outputs = tower(pixel_values=small, **how)
    features = teacher.forward(small).features
    if name in WHOLE:
        assert torch.allclose(features, outputs.pooler_output, atol=1e-5)
    else:
        assert torch.allclose(features[:, :32], outputs.last_hidden_state[:, 0], atol=1e-5)


@pytest.mark.journey
def test_changed_weights_of_a_backbone_are_noticed(tmp_path: Path) -> None:
    card = save(tiny("Dinov2Model"), tmp_path / "m")
    other = save(tiny("Dinov2Model", layerscale_value=0.5), tmp_path / "other")
    assert Teacher.load(card).num_classes == 0
    (tmp_path / "other" / "model.safetensors").rename(tmp_path / "m" / "model.safetensors")
    with pytest.raises(TeacherError, match="m changed since the crawl"):
        Teacher.load(card)
    assert card.sha != other.sha
