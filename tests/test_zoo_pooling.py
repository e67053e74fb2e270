"""What is taken of the answers of transformers' networks, and of their configs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from zoo.loading.backbones import POOLINGS, Backbone
from zoo.loading.transformers.network import (
    _arguments,
    _flat_patches,
    _pool,
    _without_loaders,
    is_needed,
)

TOKENS = torch.arange(2 * 5 * 3).float().reshape(2, 5, 3)  # (B, n, D)
MAP = torch.arange(2 * 3 * 2 * 2).float().reshape(2, 3, 2, 2)  # (B, D, h, w)
POOLED = torch.full((2, 3, 1, 1), 7.0)
MEAN_OF_TOKENS = [[6.0, 7.0, 8.0], [21.0, 22.0, 23.0]]
MEAN_OF_MAP = [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]


@pytest.mark.parametrize(
    ("pooling", "hidden", "registers", "features"),
    [
        ("cls", TOKENS, 0, [[0, 1, 2], [15, 16, 17]]),
        ("patches", TOKENS, 0, [[7.5, 8.5, 9.5], [22.5, 23.5, 24.5]]),
        ("cls and patches", TOKENS, 0, [[0, 1, 2, 7.5, 8.5, 9.5], [15, 16, 17, 22.5, 23.5, 24.5]]),
        (
            "cls and patches",
            TOKENS,
            2,
            [[0, 1, 2, 10.5, 11.5, 12.5], [15, 16, 17, 25.5, 26.5, 27.5]],
        ),
        ("mean", TOKENS, 0, MEAN_OF_TOKENS),
        ("map", MAP, 0, MEAN_OF_MAP),
        ("pooler", TOKENS, 0, [[7, 7, 7], [7, 7, 7]]),
    ],
)
def test_features_are_pooled_as_the_family_does(
    pooling: str, hidden: torch.Tensor, registers: int, features: list[list[float]]
) -> None:
    outputs = SimpleNamespace(last_hidden_state=hidden, pooler_output=POOLED)
    config = SimpleNamespace(num_register_tokens=registers)
    assert pooling in POOLINGS
    assert _pool(outputs, config, pooling).tolist() == features


def test_what_a_family_may_lack_is_replaced_by_a_mean() -> None:
    outputs = SimpleNamespace(last_hidden_state=MAP, pooler_output=None, cls_token_value=None)
    config = SimpleNamespace()
    assert _pool(outputs, config, "pooler").tolist() == MEAN_OF_MAP
    assert _pool(outputs, config, "cls of the last stage").tolist() == MEAN_OF_MAP
    outputs.cls_token_value = TOKENS[:, :1]
    assert _pool(outputs, config, "cls of the last stage").tolist() == TOKENS[:, 0].tolist()
    summary = SimpleNamespace(summary=TOKENS[:, 0])
    assert _pool(summary, config, "summary").tolist() == TOKENS[:, 0].tolist()


def test_patches_lie_in_rows_with_their_channels_last() -> None:
    images = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    patches, grid = _flat_patches(images, 2)
    assert grid.tolist() == [[2, 3], [2, 3]]  # the fifth row of pixels fills no patch
    assert patches.shape == (2, 6, 12)
    for row in range(2):
        for column in range(3):
            patch = images[1, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert torch.equal(patches[1, 3 * row + column], patch.permute(1, 2, 0).flatten())


def test_nothing_of_a_config_fetches_code_or_other_weights() -> None:
    config = {
        "hidden_size": 8,
        "_attn_implementation": "evil",
        "attn_implementation": "evil/kernel",
        "quantization_config": {},
        "torch_dtype": "float16",
        "dtype": "float16",
        "backbone_config": {},
        "use_timm_backbone": True,
        "trust_remote_code": True,
        "name_or_path": "evil/model",
        "architectures": ["ViTModel"],
        "inner": {"_name": "evil", "layers": 2, "use_backbone": "evil"},
    }
    assert _without_loaders(config) == {"hidden_size": 8, "inner": {"layers": 2}}


def test_tensors_and_arguments_of_a_tower() -> None:
    tower = Backbone(built="CLIPVisionModel", pooling="pooler", prefix="vision_model.")
    assert is_needed("vision_model.layer.weight", tower)
    assert not is_needed("text_model.layer.weight", tower)
    assert is_needed("anything", None)
    assert _arguments(tower) == _arguments(None) == {}
    for pooler in (True, False):
        built = Backbone(built="ViTModel", pooling="cls", pooler=pooler)
        assert _arguments(built) == {"add_pooling_layer": pooler}
