"""What transformers' image processors make of real photographs, and what is made of them here."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.places import SHARED
from zoo.errors import TeacherError
from zoo.loading.inputs.preprocessing import from_config, from_transformers
from zoo.loading.inputs.processors import family_processor

pytestmark = pytest.mark.journey

# (processor, what its file says beyond the defaults, largest difference in grey levels of 255).
# Exact is what rounding of floats leaves. One level or two: the library resizes tensors, not PIL's
# images. One pixel: it rounds the centre to another pixel where the margin is odd, or cuts before
# it resizes; at a sharp edge that is many levels, on average less than one.
EXACT, ONE_LEVEL, TWO_LEVELS, ONE_PIXEL = 0.001, 1.01, 2.01, 110.0
PROCESSORS: list[tuple[str, dict[str, Any], float]] = [
    ("BeitImageProcessor", {}, EXACT),
    ("BitImageProcessor", {"size": {"shortest_edge": 256}}, EXACT),  # DINOv2's
    ("BlipImageProcessor", {}, EXACT),
    ("CLIPImageProcessor", {}, EXACT),
    ("ChineseCLIPImageProcessor", {}, EXACT),
    ("ConvNextImageProcessor", {}, EXACT),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}, EXACT),
    ("DINOv3ViTImageProcessor", {}, ONE_LEVEL),
    ("DeiTImageProcessor", {}, EXACT),
    ("EfficientNetImageProcessor", {}, EXACT),
    ("EfficientNetImageProcessor", {"include_top": False, "rescale_offset": True}, EXACT),
    ("FlavaImageProcessor", {}, EXACT),
    ("LevitImageProcessor", {}, EXACT),
    ("MobileNetV1ImageProcessor", {}, EXACT),
    ("MobileNetV2ImageProcessor", {}, EXACT),
    ("MobileViTImageProcessor", {}, EXACT),
    ("PPLCNetImageProcessor", {}, EXACT),
    ("PerceiverImageProcessor", {}, ONE_PIXEL),
    ("PoolFormerImageProcessor", {}, ONE_PIXEL),
    ("PvtImageProcessor", {}, EXACT),
    ("SegformerImageProcessor", {}, EXACT),
    ("SiglipImageProcessor", {}, EXACT),
    ("Tipsv2ImageProcessor", {}, TWO_LEVELS),
    ("ViTImageProcessor", {}, EXACT),
]


def photographs(count: int) -> list[Image.Image]:
    import pyarrow.parquet as pq

    file = SHARED / "datasets/tf_flowers/test.parquet"
    if not file.is_file():
        pytest.skip("the photographs lie in ../shared, which is not here")
    table = pq.read_table(file, columns=["image"]).slice(0, count)
    return [
        Image.open(io.BytesIO(row["bytes"])).convert("RGB") for row in table["image"].to_pylist()
    ]


def difference(
    kind: str, options: dict[str, Any], images: list[Image.Image]
) -> tuple[float, float]:
    """Mean and largest difference in grey levels between the library's pixels and ours."""
    transformers = pytest.importorskip("transformers")
    theirs = getattr(transformers, kind + "Pil", getattr(transformers, kind))(**options)
    ours = from_transformers(json.loads(theirs.to_json_string()))
    means, largest = [], 0.0
    for image in images:
        wanted = np.asarray(theirs(image, return_tensors="np")["pixel_values"][0], np.float64)
        pixels = np.asarray(ours.apply(image)).transpose(2, 0, 1) / 255
        if ours.channel_order == "bgr":
            pixels = pixels[::-1]
        std = np.reshape(ours.std, (3, 1, 1))
        values = (pixels - np.reshape(ours.mean, (3, 1, 1))) / std
        assert values.shape == wanted.shape
        levels = 255 * np.abs((values - wanted) * std)
        means.append(levels.mean())
        largest = max(largest, float(levels.max()))
    return float(np.mean(means)), largest


@pytest.mark.journey
@pytest.mark.parametrize(("kind", "options", "tolerance"), PROCESSORS)
def test_a_processor_is_reproduced_on_photographs(
    kind: str, options: dict[str, Any], tolerance: float
) -> None:
    mean, largest = difference(kind, options, photographs(12))
    assert largest <= tolerance
    assert mean <= min(tolerance, 1.0)


def test_siglip_2_sees_the_largest_square_of_patches() -> None:
    """Its processor fits patches to the image's shape; on a square image it is the same."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.Siglip2ImageProcessorPil()
    ours = from_transformers(json.loads(theirs.to_json_string()))
    assert (ours.input_size, ours.crop_mode, ours.interpolation) == (
        (256, 256),
        "squash",
        "bilinear",
    )
    image = photographs(1)[0].resize((200, 200))
    patches = theirs(image, return_tensors="np")["pixel_values"][0]  # (256, 16 * 16 * 3)
    pixels = (np.asarray(ours.apply(image)) / 255 - 0.5) / 0.5  # (H, W, 3)
    blocks = pixels.reshape(16, 16, 16, 16, 3).transpose(0, 2, 1, 3, 4).reshape(256, -1)
    assert np.abs(blocks - patches).max() < 0.001


@pytest.mark.parametrize(
    ("config", "size", "mean", "interpolation", "crop_pct"),
    [
        ({"model_type": "vit", "image_size": 384}, 384, 0.5, "bicubic", 1.0),
        ({"model_type": "clip_vision_model", "image_size": 224}, 224, 0.48145466, "bicubic", 1.0),
        ({"model_type": "siglip_vision_model", "image_size": 384}, 384, 0.5, "bicubic", 1.0),
        ({"model_type": "dinov2", "image_size": 518}, 224, 0.485, "bicubic", 224 / 256),
        ({"model_type": "dinov3_vit", "image_size": 224}, 224, 0.485, "bilinear", 1.0),
        ({"model_type": "convnext", "image_size": 224}, 224, 0.485, "bicubic", 0.875),
        ({"model_type": "beit"}, 224, 0.5, "bicubic", 1.0),
    ],
)
def test_without_a_file_the_family_says_how_images_are_prepared(
    config: dict[str, Any], size: int, mean: float, interpolation: str, crop_pct: float
) -> None:
    ours = from_transformers(family_processor(config))
    assert ours.input_size == (size, size)
    assert ours.mean[0] == pytest.approx(mean)
    assert ours.interpolation == {"vit": "bilinear"}.get(config["model_type"], interpolation)
    assert ours.crop_pct == pytest.approx(crop_pct, abs=0.003)


def test_a_tower_without_a_file_is_prepared_for_its_own_size() -> None:
    config = {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "vision_config": {"model_type": "clip_vision_model", "image_size": 336},
    }
    assert from_config(config, Path()).input_size == (336, 336)


@pytest.mark.parametrize("kind", ["ViTImageProcessorFast", "ViTFeatureExtractor"])
def test_older_names_of_a_processor_mean_the_same(kind: str) -> None:
    key = "feature_extractor_type" if "Extractor" in kind else "image_processor_type"
    assert from_transformers({key: kind}) == from_transformers(
        {"image_processor_type": "ViTImageProcessor"}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"resample": 6},
        {"resample": 9},
        {"rescale_factor": 0},
        {"size": "x"},
        {"image_mean": [1, 2]},
    ],
)
def test_a_wrong_processor_is_the_models_fault(wrong: dict[str, Any]) -> None:
    with pytest.raises(TeacherError):
        from_transformers({"image_processor_type": "ViTImageProcessor", **wrong})


def settings(kind: str, **values: Any) -> Any:
    return from_transformers({"image_processor_type": f"{kind}ImageProcessor", **values})


def test_a_network_that_takes_blue_first_has_its_means_in_that_order() -> None:
    ours = settings("PPLCNet", image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6])
    assert ours.channel_order == "bgr"
    assert (ours.mean, ours.std) == (pytest.approx((0.3, 0.2, 0.1)), pytest.approx((0.6, 0.5, 0.4)))
    assert settings("MobileViT", do_flip_channel_order=False).channel_order == "rgb"


def test_pixels_are_scaled_moved_and_normalised_as_the_file_says() -> None:
    ours = settings("ViT", rescale_factor=1 / 127.5, rescale_offset=True, do_normalize=False)
    assert (ours.mean, ours.std) == (pytest.approx((0.5,) * 3), pytest.approx((0.5,) * 3))
    plain = settings("MobileViT", image_mean=[0.5] * 3, image_std=[0.5] * 3)  # it never normalises
    assert (plain.mean, plain.std) == ((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(
    ("kind", "edge", "crop_mode"),
    [
        ("ConvNext", 383, "center"),
        ("ConvNext", 384, "squash"),
        ("PoolFormer", 384, "center"),
    ],
)
def test_from_384_pixels_on_convnext_stretches_the_image(
    kind: str, edge: int, crop_mode: str
) -> None:
    ours = settings(kind, size={"shortest_edge": edge}, crop_pct=0.875, do_center_crop=False)
    assert (ours.crop_mode, ours.crop_pct) == (crop_mode, 1.0 if crop_mode == "squash" else 0.875)


def test_sizes_that_a_file_gives_are_taken() -> None:
    assert settings("Siglip2", size={"height": 192, "width": 192}).input_size == (192, 192)
    assert settings("Siglip2", max_num_patches=144).input_size == (192, 192)
    stretched, cut = (settings("ViT", size=256, do_center_crop=crops) for crops in (False, True))
    assert (stretched.input_size, stretched.crop_mode) == ((256, 256), "squash")
    assert (cut.input_size, cut.crop_mode) == ((256, 256), "center")


def test_the_image_is_resized_to_the_edge_that_the_file_says() -> None:
    """timm resizes to floor(size / crop_pct)."""
    for edge in range(224, 640):
        ours = settings("CLIP", size={"shortest_edge": edge}, crop_size=224)
        assert math.floor(224 / ours.crop_pct) == edge
