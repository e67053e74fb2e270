"""Transformers' text encoders, tiny and random: built, and saved with a tokenizer of few words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo.card import ModelCard
from zoo.sources.folder import card as folder_card

NAMES = {0: "joy", 1: "anger", 2: "fear"}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    *("the", "a", "of", "not", "bad", "good", "all", "film", "battery", "died", "after", "week"),
    *("very", "long", "short", "text", "was", "is", "it", "and", "quite", "slow", "fast"),
    *(",", ".", "!", "1", "2", "##s", "##ed"),
]
VOCABULARY = SPECIAL + WORDS
LONGEST = 40  # tokens

BASE: dict[str, Any] = {
    "vocab_size": 48,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": LONGEST,
    "pad_token_id": 0,
}
# By family: what differs from ``BASE``; a None takes the setting away.
CHANGES: dict[str, dict[str, Any]] = {
    "Albert": {"embedding_size": 16},
    "DebertaV2": {
        "relative_attention": True,
        "pos_att_type": "p2c|c2p",
        "position_buckets": 8,
        "position_biased_input": False,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
    },
    "DistilBert": {
        "dim": 32,
        "n_layers": 4,
        "n_heads": 2,
        "hidden_dim": 48,
        "hidden_size": None,
        "num_hidden_layers": None,
        "num_attention_heads": None,
        "intermediate_size": None,
    },
    "Electra": {"embedding_size": 16},
    "EuroBert": {"num_key_value_heads": 2},
    "MobileBert": {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "ModernBert": {
        "local_attention": 8,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
    "RemBert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "SqueezeBert": {"embedding_size": 32},
}


def config_of(family: str, **changes: Any) -> Any:
    import transformers

    settings = BASE | CHANGES.get(family, {}) | changes
    settings = {name: value for name, value in settings.items() if value is not None}
    return getattr(transformers, f"{family}Config")(**settings)


def tiny_text(family: str, end: str = "Model", **changes: Any) -> Any:
    """The class ``family + end`` of transformers, with random weights that all do something."""
    import torch
    import transformers

    if end == "ForSequenceClassification":
        changes = {"id2label": NAMES, "label2id": {n: i for i, n in NAMES.items()}} | changes
    torch.manual_seed(0)
    network = getattr(transformers, family + end)(config_of(family, **changes)).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
        else:
            parameter.data.mul_(3)
    return network


def tokenizer() -> Any:
    """A tokenizer as BERT's, of ``VOCABULARY``."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(
        models.WordPiece({word: n for n, word in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(SPECIAL)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def save_text(network: Any, folder: Path, *, settings: dict[str, Any] | None = None) -> ModelCard:
    """The folder as transformers saves it, with ``tokenizer.json``; its card."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder_card(folder)
