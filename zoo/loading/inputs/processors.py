"""What transformers' image processors do, in timm's terms: pure functions over parsed JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.errors import TeacherError

# by PIL's numbers, as transformers stores them
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_HALVES = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
_CLIP = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
_SQUARE = {"size": {"height": 224, "width": 224}}
_EDGE_AND_CROP = {"size": {"shortest_edge": 224}, "do_center_crop": True}
# What a processor of each kind does where its file is silent, as far as it is not what most do.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "Beit": {**_HALVES, "resample": 3},
    "Bit": {**_CLIP, "resample": 3, **_EDGE_AND_CROP},
    "Blip": {**_CLIP, "resample": 3, "size": {"height": 384, "width": 384}},
    "CLIP": {**_CLIP, "resample": 3, **_EDGE_AND_CROP},
    "ChineseCLIP": {**_CLIP, "resample": 3, **_EDGE_AND_CROP},
    "ConvNext": {**_HALVES, "resample": 3, "size": {"shortest_edge": 384}, "crop_pct": 0.875},
    "DINOv3ViT": {**IMAGENET, "resample": 2},
    "DeiT": {**_HALVES, "resample": 3},
    "EfficientNet": {**_HALVES, "resample": 3, "include_top": True},
    "Flava": {**_CLIP, "resample": 3, "do_center_crop": True},
    "Levit": {**IMAGENET, "resample": 3, **_EDGE_AND_CROP},
    "MobileNetV1": {**_HALVES, "resample": 2, "size": {"shortest_edge": 256}},
    "MobileNetV2": {**_HALVES, "resample": 2, "size": {"shortest_edge": 256}},
    "MobileViT": {"resample": 3, "size": {"shortest_edge": 224}, "do_flip_channel_order": True},
    "PPLCNet": {**IMAGENET, "resample": 2, "resize_short": 256, "do_center_crop": True},
    "Perceiver": {**IMAGENET, "resample": 3},
    "PoolFormer": {**IMAGENET, "resample": 3, **_EDGE_AND_CROP, "crop_pct": 0.9},
    "Pvt": {**IMAGENET, "resample": 3},
    "Segformer": {**IMAGENET, "resample": 2, "size": {"height": 512, "width": 512}},
    "Siglip": {**_HALVES, "resample": 3},
    "Siglip2": {**_HALVES, "resample": 2},
    "TextNet": {**IMAGENET, "resample": 2, "size": {"shortest_edge": 640}},
    "Tipsv2": {"do_normalize": False, "resample": 2, "size": {"height": 448, "width": 448}},
    "ViT": {**_HALVES, "resample": 2},
}
# The processor that the published models of a ``model_type`` have, where they bring no file.
_KIND_OF_TYPE = (
    ("siglip2.*", "Siglip2"),
    ("siglip.*", "Siglip"),
    ("chinese_clip.*", "ChineseCLIP"),
    ("(.*clip|metaclip_2|altclip|aimv2|mlcd).*", "CLIP"),
    ("blip.*", "Blip"),
    ("dinov3.*", "DINOv3ViT"),
    ("(dinov2|hiera|focalnet|pixio|bit).*", "Bit"),
    ("(beit|data2vec-vision)", "Beit"),
    ("(convnext|convnextv2|cvt|resnet|regnet)", "ConvNext"),
    ("(efficientnet|align).*", "EfficientNet"),
    ("mobilevit.*", "MobileViT"),
    ("tipsv2.*", "Tipsv2"),
    ("pvt.*", "Pvt"),
    ("pp_lcnet", "PPLCNet"),
    ("flava.*", "Flava"),
    ("levit", "Levit"),
    ("mobilenet_v1", "MobileNetV1"),
    ("mobilenet_v2", "MobileNetV2"),
    ("perceiver", "Perceiver"),
    ("poolformer", "PoolFormer"),
    ("segformer", "Segformer"),
    ("textnet", "TextNet"),
    ("deit", "DeiT"),
    (".*", "ViT"),
)
# Families whose published files differ from the defaults of their processor's class.
_PUBLISHED = (
    (
        "dinov2.*",
        {
            **IMAGENET,
            "size": {"shortest_edge": 256},
            "crop_size": {"height": 224, "width": 224},
        },
    ),
    ("(convnext|convnextv2|cvt|resnet|regnet|focalnet|hiera|vit_mae|vit_msn|swin.*)", IMAGENET),
)


def settings_of(processor: Mapping[str, Any]) -> tuple[tuple[Any, Any], dict[str, Any]]:
    """A ``preprocessor_config.json`` as (height, width) and the fields of ``Preprocessing``.

    Where transformers would leave the longer side uncut, the centre is cut to a square: batches
    need one size (ours). ``TeacherError`` where it holds what no processor takes.
    """
    kind = _kind(processor)
    given = {key: value for key, value in processor.items() if value is not None}
    values = {**_SQUARE, "resample": 2, **IMAGENET, **_DEFAULTS.get(kind, {})} | given
    if kind == "Siglip2" and "size" not in given:
        values["size"] = _patches_size(values)
    cut, pct, is_stretched = _geometry(kind, values)
    mean, std = _normalisation(kind, values)
    resample = values["resample"]
    if not isinstance(resample, int) or not 0 <= resample < len(RESAMPLING):
        raise TeacherError(
            f"resample {resample!r} is no filter of PIL (0 to {len(RESAMPLING) - 1})"
        )
    is_flipped = kind == "PPLCNet" or bool(values.get("do_flip_channel_order"))
    if kind == "PPLCNet":  # it flips after it has normalised
        mean, std = mean[::-1], std[::-1]
    return cut, {
        "mean": mean,
        "std": std,
        "interpolation": RESAMPLING[resample],
        "crop_pct": pct,
        "crop_mode": "squash" if is_stretched else "center",
        "channel_order": "bgr" if is_flipped else "rgb",
    }


def family_processor(config: Mapping[str, Any]) -> dict[str, Any]:
    """The processor that a model without a ``preprocessor_config.json`` is given: its family's.

    ``config`` is a transformers ``config.json``, or the part of it that describes the images'
    network; its ``image_size`` is the size.
    """
    model_type = str(config.get("model_type"))
    kind = next(kind for pattern, kind in _KIND_OF_TYPE if re.fullmatch(pattern, model_type))
    processor: dict[str, Any] = {"image_processor_type": f"{kind}ImageProcessor"}
    for pattern, published in _PUBLISHED:
        if re.fullmatch(pattern, model_type):
            processor |= published
    size = config.get("image_size")
    if size is None or kind == "Siglip2" or "crop_size" in processor:
        return processor
    height, width = pair(size)
    edge = (processor | _DEFAULTS.get(kind, {})).get("size", {}).get("shortest_edge")
    if edge is not None:
        processor["size"] = {"shortest_edge": height}
        processor["crop_size"] = {"height": height, "width": width}
    else:
        processor["size"] = {"height": height, "width": width}
        processor["do_center_crop"] = False
    return processor


def pair(size: Any) -> tuple[Any, Any]:
    """(height, width) of a size in any of the forms that configs have."""
    if isinstance(size, Mapping):
        size = (size.get("height"), size.get("width"))
    if isinstance(size, int):
        return size, size
    if isinstance(size, Sequence) and not isinstance(size, str) and len(size) == 2:
        return size[0], size[1]
    raise TeacherError(f"{size!r} is no image size")


def triple(values: Any) -> tuple[float, float, float]:
    """One value a colour channel, from three or one."""
    values = [values] if isinstance(values, (int, float)) else list(values)
    values = values * 3 if len(values) == 1 else values
    if len(values) != 3:
        raise TeacherError(f"{len(values)} values for 3 colour channels")
    return float(values[0]), float(values[1]), float(values[2])


def _kind(processor: Mapping[str, Any]) -> str:
    """``CLIP`` of a CLIPImageProcessor, CLIPImageProcessorFast or CLIPFeatureExtractor."""
    name = processor.get("image_processor_type", processor.get("feature_extractor_type"))
    return re.sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", str(name))


def _geometry(kind: str, values: Mapping[str, Any]) -> tuple[tuple[Any, Any], float, bool]:
    """The size in pixels, ``crop_pct`` and whether the image is stretched."""
    size, pct = values["size"], values.get("crop_pct")
    crops = values.get("do_center_crop")
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else None
    is_stretched = edge is None
    if isinstance(size, int):
        edge, is_stretched = size, not crops
    if kind == "PPLCNet":
        edge, is_stretched = values.get("resize_short"), False
    resized = pair(size if edge is None else edge)
    cut = resized
    if kind == "Perceiver" and crops:  # it cuts first, a part of the shorter side
        return resized, float(resized[0] / pair(values.get("crop_size", 256))[0]), False
    if crops and values.get("crop_size"):
        cut = pair(values["crop_size"])
    if kind == "Levit" and edge is not None:
        resized = pair(int(256 / 224 * edge))
        cut = cut if crops else resized
    if pct is not None:
        # ConvNeXT's processor: from 384 pixels on the image is stretched and not cut
        is_stretched = kind != "PoolFormer" and resized[0] >= 384
        return cut, 1.0 if is_stretched else pct, is_stretched
    pct = cut[0] / resized[0]
    if math.floor(cut[0] / pct) != resized[0]:
        pct = cut[0] / (resized[0] + 0.5)
    return cut, pct, is_stretched


def _patches_size(values: Mapping[str, Any]) -> dict[str, int]:
    """The largest square of whole patches (SigLIP 2 fits the patches to each image's shape)."""
    side = math.isqrt(int(values.get("max_num_patches", 256))) * int(values.get("patch_size", 16))
    return {"height": side, "width": side}


def _normalisation(
    kind: str, values: Mapping[str, Any]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std per channel for pixels in [0, 1]."""
    scale = 255.0
    if values.get("do_rescale", True):
        scale *= float(values.get("rescale_factor", 1 / 255))
    if not 0 < scale < math.inf:
        raise TeacherError(f"rescale_factor {values.get('rescale_factor')!r} is not above 0")
    offset = 1.0 if values.get("rescale_offset") else 0.0
    is_normalised = values.get("do_normalize", True) and kind != "MobileViT"
    mean = triple(values["image_mean"]) if is_normalised else (0.0, 0.0, 0.0)
    std = triple(values["image_std"]) if is_normalised else (1.0, 1.0, 1.0)
    if kind == "EfficientNet" and values.get("include_top"):  # it divides once more
        std = triple([a * b for a, b in zip(std, triple(values["image_std"]), strict=True)])
    return tuple((m + offset) / scale for m in mean), tuple(s / scale for s in std)
