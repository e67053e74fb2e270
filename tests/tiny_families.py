"""Transformers' image networks, tiny and random: built, and saved as their library saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo.card import ModelCard

SIDE = 64  # pixels that all of them take, unless SIDES says otherwise
NAMES = {0: "tabby cat", 1: "rose", 2: "sports car"}
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": SIDE, "width": SIDE},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "resample": 2,
}
VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": SIDE,
    "patch_size": 16,
}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 99,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
DINOV2 = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 16,
}
SWIN = {
    "image_size": SIDE,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": 4,
}
STAGES = {"hidden_sizes": [16, 32], "depths": [1, 1], "image_size": SIDE}
FOUR = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
EFFICIENT = {
    "image_size": SIDE,
    "width_coefficient": 0.25,
    "depth_coefficient": 0.2,
    "hidden_dim": 320,
}

# By the config's class: its arguments.
CONFIGS: dict[str, dict[str, Any]] = {
    "Aimv2VisionConfig": VIT,
    "AlignVisionConfig": EFFICIENT,
    "AltCLIPVisionConfig": VIT,
    "BeitConfig": VIT | {"use_mean_pooling": True},
    "BitConfig": {
        "embedding_size": 16,
        "hidden_sizes": [32, 64],
        "depths": [1, 1],
        "num_groups": 4,
    },
    "Blip2VisionConfig": VIT,
    "BlipVisionConfig": VIT,
    "CLIPVisionConfig": VIT,
    "ChineseCLIPVisionConfig": VIT,
    "ConvNextConfig": STAGES | {"num_stages": 2},
    "ConvNextV2Config": STAGES | {"num_stages": 2},
    "CvtConfig": {
        "embed_dim": [8, 16, 16],
        "num_heads": [1, 1, 2],
        "depth": [1, 2, 3],  # a stage reads as many rates as its number
        "drop_path_rate": [0.0, 0.0, 0.0],
        "cls_token": [False, False, True],
    },
    "DINOv3ConvNextConfig": FOUR | {"image_size": SIDE},
    "DINOv3ViTConfig": VIT | {"num_register_tokens": 2},
    "Data2VecVisionConfig": VIT | {"use_mean_pooling": True},
    "DeiTConfig": VIT,
    "Dinov2Config": DINOV2,
    "Dinov2WithRegistersConfig": DINOV2 | {"num_register_tokens": 3},
    "DonutSwinConfig": SWIN,
    "EfficientNetConfig": EFFICIENT,
    "FlavaImageConfig": VIT,
    "FocalNetConfig": {
        "image_size": SIDE,
        "embed_dim": 16,
        "depths": [1, 1],
        "focal_levels": [1, 1],
        "focal_windows": [3, 3],
        "hidden_sizes": [16, 32],
    },
    "HGNetV2Config": {
        "embedding_size": 8,
        "stem_channels": [3, 8, 8],
        "hidden_sizes": [8, 16, 16, 16],
        "depths": [1, 1, 1, 1],
        "stage_in_channels": [8, 8, 16, 16],
        "stage_mid_channels": [8, 8, 8, 8],
        "stage_out_channels": [8, 16, 16, 16],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [1, 1, 1, 1],
    },
    "HieraConfig": {
        "image_size": [SIDE, SIDE],
        "embed_dim": 16,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 2, 4, 8],
        "decoder_hidden_size": 16,
        "decoder_depth": 1,
        "decoder_num_heads": 2,
    },
    "IJepaConfig": VIT,
    "LevitConfig": {
        "image_size": SIDE,
        "hidden_sizes": [16, 32, 48],
        "num_attention_heads": [1, 2, 3],
        "depths": [1, 1, 1],
        "key_dim": [8, 8, 8],
    },
    "MLCDVisionConfig": VIT,
    "MetaClip2VisionConfig": VIT,
    "MobileNetV1Config": {"depth_multiplier": 0.25, "image_size": SIDE},
    "MobileNetV2Config": {"depth_multiplier": 0.35, "image_size": SIDE},
    "MobileViTConfig": {
        "image_size": SIDE,
        "hidden_sizes": [16, 16, 16],
        "neck_hidden_sizes": [8, 8, 8, 16, 16, 16, 16],
    },
    "MobileViTV2Config": {
        "image_size": SIDE,
        "width_multiplier": 0.25,
        "base_attn_unit_dims": [32, 32, 32],
        "n_attn_blocks": [1, 1, 1],
    },
    "PPLCNetConfig": {"scale": 0.25},
    "PerceiverConfig": {
        "num_latents": 4,
        "d_latents": 32,
        "d_model": 32,
        "num_blocks": 1,
        "num_self_attends_per_block": 1,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 1,
        "image_size": SIDE,
    },
    "PixioConfig": VIT | {"n_cls_tokens": 2},
    "PoolFormerConfig": FOUR,
    "PvtConfig": FOUR | {"image_size": SIDE, "num_attention_heads": [1, 1, 2, 2], "num_labels": 3},
    "PvtV2Config": FOUR | {"image_size": SIDE, "num_attention_heads": [1, 1, 2, 2]},
    "RadioConfig": DINOV2 | {"max_img_size": 128, "summary_idxs": [0, 1]},
    "RegNetConfig": {
        "embedding_size": 16,
        "hidden_sizes": [16, 32],
        "depths": [1, 1],
        "groups_width": 8,
    },
    "ResNetConfig": {
        "embedding_size": 16,
        "hidden_sizes": [16, 32],
        "depths": [1, 1],
        "layer_type": "basic",
    },
    "SegformerConfig": {
        "hidden_sizes": [8, 16, 16, 16],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 1, 1],
        "decoder_hidden_size": 16,
    },
    "Siglip2VisionConfig": VIT | {"num_patches": 16},
    "SiglipVisionConfig": VIT,
    "SwiftFormerConfig": {
        "image_size": SIDE,
        "depths": [1, 1, 1, 1],
        "embed_dims": [16, 16, 32, 32],
    },
    "SwinConfig": SWIN,
    "Swinv2Config": SWIN,
    "TextNetConfig": {
        "stem_out_channels": 8,
        "hidden_sizes": [8, 8, 8, 8, 16],
        "conv_layer_kernel_sizes": [[[3, 3]], [[3, 3]], [[3, 3]], [[3, 3]]],
        "conv_layer_strides": [[1], [2], [2], [2]],
        "image_size": SIDE,
    },
    "Tipsv2VisionConfig": VIT,
    "ViTConfig": VIT,
    "ViTMAEConfig": VIT
    | {
        "decoder_hidden_size": 16,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 32,
    },
    "ViTMSNConfig": VIT,
}


def tiny(name: str, **changes: Any) -> Any:
    """A random network of transformers' class ``name``, in eval mode."""
    import torch
    import transformers

    family = getattr(transformers, name)
    torch.manual_seed(0)
    arguments = CONFIGS[family.config_class.__name__] | changes
    network = family(family.config_class(**arguments)).eval()
    shake(network)
    return network


def shake(network: Any) -> None:
    """Give zeros and ones (norms, layer scales, tokens) values too, so that each is seen."""
    import torch

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


def save(network: Any, folder: Path) -> ModelCard:
    """``network`` as its library saves it, with a processor; its card as a crawl makes it."""
    from zoo.sources.folder import card

    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return card(folder)
