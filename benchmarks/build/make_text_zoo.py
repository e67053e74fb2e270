"""Train the small zoo's text teachers: ``python -m benchmarks.build.make_text_zoo --data
../shared/text``.

Tiny classifiers of transformers on CLINC150 and on made-up texts, with plain torch, in Hub layout.
A model that is there already is left as it is, so a stopped run goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.build.clinc150 import LabelledTexts, read_clinc150
from benchmarks.build.make_small_zoo import batch_rows, matching_names
from benchmarks.build.opinions import made_opinions
from benchmarks.build.text_recipes import TEXT_RECIPES, TextRecipe
from zoo.files import replacing, write_bytes, write_json, write_text
from zoo.sources.folder import card, small_zoo
from zoo.teacher import Teacher
from zoo.terminal.command import run
from zoo.terminal.options import command_of
from zoo.terminal.progress import Progress

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

_SEED = 2026
_LENGTH = 40  # tokens of a text
_MASKED = 0.15  # of the tokens, in training
_OPINIONS = {"train": 4_000, "test": 1_000}
_CLINC150_TERMS = (
    'CLINC150 (Larson et al., "An Evaluation Dataset for Intent Classification and Out-of-Scope'
    ' Prediction", EMNLP 2019; https://github.com/clinc/oos-eval), CC BY 3.0'
    " (https://creativecommons.org/licenses/by/3.0/)"
)
_OPINIONS_TERMS = "made by `benchmarks/build/opinions.py`"


def build_text_teacher(
    name: str,
    recipe: TextRecipe,
    *,
    data: Path,
    out: Path,
    steps: int | None,
) -> dict[str, Any]:
    """Train, save and measure one teacher; returns its config. ``steps`` cuts the training short,
    for trying out.
    """
    train, test = texts_of(recipe, data, "train"), texts_of(recipe, data, "test")
    tokenizer = _tokenizer(recipe, train.texts)
    network = _train(recipe, _network(recipe, train, tokenizer), tokenizer, train, steps)
    with replacing(out / name) as folder:
        folder.mkdir()
        config = _save(folder, network, tokenizer)
        config |= _measure(folder, test)
        write_json(folder / "config.json", config)
        write_text(folder / "README.md", _readme(name, recipe, config, len(train.texts)))
    return config


def texts_of(recipe: TextRecipe, data: Path, split: str) -> LabelledTexts:
    """The texts that ``recipe`` learns from or is tested on; ``data`` holds ``clinc150/``."""
    if recipe.domains:
        return read_clinc150(data / "clinc150", split).renamed(recipe.classes)
    return made_opinions(split, _OPINIONS[split])


def _tokenizer(recipe: TextRecipe, texts: Sequence[str]) -> Tokenizer:
    from distill.data.vocabulary import train_tokenizer

    if recipe.family == "Roberta":
        tokenizer = _byte_pairs(texts, recipe.words)
    else:
        tokenizer = train_tokenizer(texts, recipe.words)
    tokenizer.enable_truncation(_LENGTH)
    return tokenizer


def _byte_pairs(texts: Sequence[str], words: int) -> Tokenizer:
    """RoBERTa's kind of tokenizer, of pairs of bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        min_frequency=2,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    built: Tokenizer = tokenizer
    return built


def _special(tokenizer: Tokenizer, name: str) -> int:
    """The number of the special token ``pad`` or ``mask``, as BERT or RoBERTa write it."""
    numbers = (tokenizer.token_to_id(word) for word in (f"[{name.upper()}]", f"<{name}>"))
    return next(number for number in numbers if number is not None)


def _network(recipe: TextRecipe, texts: LabelledTexts, tokenizer: Tokenizer) -> Any:
    """The classifier of transformers, weights drawn from the seed."""
    import torch
    import transformers

    padding = _special(tokenizer, "pad")
    names = dict(enumerate(name.replace("_", " ") for name in texts.classes))
    config = getattr(transformers, f"{recipe.family}Config")(
        vocab_size=tokenizer.get_vocab_size(),
        pad_token_id=padding,
        max_position_embeddings=_LENGTH + (padding + 1 if recipe.family == "Roberta" else 0),
        id2label=names,
        label2id={name: number for number, name in names.items()},
        **_sizes(recipe),
    )
    torch.manual_seed(_SEED)
    return getattr(transformers, f"{recipe.family}ForSequenceClassification")(config)


def _sizes(recipe: TextRecipe) -> dict[str, int]:
    """The sizes of the network by its family's names."""
    sizes = {
        "hidden_size": recipe.width,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.width // 16,
        "intermediate_size": 2 * recipe.width,
    }
    if recipe.family == "DistilBert":
        return dict(zip(("dim", "n_layers", "n_heads", "hidden_dim"), sizes.values(), strict=True))
    return sizes


def _train(
    recipe: TextRecipe,
    network: Any,
    tokenizer: Tokenizer,
    texts: LabelledTexts,
    steps: int | None,
) -> Any:
    """AdamW on one cycle with label smoothing 0.1; a share of the tokens is masked."""
    import torch
    import torch.nn.functional as F

    draw = torch.Generator().manual_seed(_SEED)
    padding, mask = _special(tokenizer, "pad"), _special(tokenizer, "mask")
    tokens = _tokens(tokenizer, texts.texts, padding)  # (N, L)
    labels = torch.tensor(texts.labels)
    total = steps or recipe.epochs * (len(tokens) // 128)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=total, pct_start=0.2
    )
    network.train()
    for rows in batch_rows(len(tokens), total, draw):
        batch = tokens[rows]
        batch = batch[:, : int(batch.ne(padding).sum(1).max())]  # (B, l)
        present = batch.ne(padding)
        hidden = torch.rand(batch.shape, generator=draw) < _MASKED
        hidden &= present & (batch > mask)  # numbers up to the mask's are special
        logits = network(
            input_ids=batch.masked_fill(hidden, mask), attention_mask=present.long()
        ).logits  # (B, C)
        loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def _tokens(tokenizer: Tokenizer, texts: Sequence[str], padding: int) -> Tensor:
    """(N, L) int64, filled up with ``padding``."""
    import torch

    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    tokens = torch.full((len(rows), max(map(len, rows))), padding)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return tokens


def _save(folder: Path, network: Any, tokenizer: Tokenizer) -> dict[str, Any]:
    """The weights as float16, the tokenizer and the config, which is returned."""
    import torch
    from safetensors.torch import save_file

    from distill.student.text_student import tokenizer_settings

    weights = {
        name: tensor.detach().contiguous().to(torch.float16)
        for name, tensor in network.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.no_truncation()
    content = tokenizer.to_str().encode()
    write_bytes(folder / "tokenizer.json", content)
    write_json(folder / "tokenizer_config.json", tokenizer_settings(content, _LENGTH))
    # diff: what transformers itself adds at reading need not be shipped
    config = network.config.to_diff_dict() | {
        "architectures": [type(network).__name__],
        "model_type": network.config.model_type,
        "dtype": "float32",
        "license": "apache-2.0",
    }
    config = {name: value for name, value in config.items() if name[:1] != "_"}
    config.pop("transformers_version", None)
    write_json(folder / "config.json", config)
    return config


def _measure(folder: Path, test: LabelledTexts) -> dict[str, Any]:
    """The accuracy of the saved model on the test texts, through the ``Teacher`` that ranking
    uses, as fields of its config.
    """
    import numpy as np

    logits = Teacher.load(card(folder)).outputs(test.texts, batch_size=256).logits
    assert logits is not None, "a trained classifier has a head"
    accuracy = float((logits.argmax(1) == np.asarray(test.labels)).mean())
    count = len(test.labels)
    return {
        "accuracy": round(accuracy, 4),
        "accuracy_se": round((accuracy * (1 - accuracy) / count) ** 0.5, 4),
        "test_texts": count,
    }


def _readme(
    name: str,
    recipe: TextRecipe,
    config: Mapping[str, Any],
    texts: int,
) -> str:
    accuracy, error = 100 * config["accuracy"], 100 * config["accuracy_se"]
    terms = _CLINC150_TERMS if recipe.domains else _OPINIONS_TERMS
    apart = (
        "No text of CLINC150's domain `home`, of which the packaged task `requests` is made, was"
        " learned from."
        if recipe.domains
        else "The test texts are about other products than the training texts."
    )
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-classification
language: en
datasets:
- {"clinc_oos" if recipe.domains else "made-up opinions"}
tags:
- text-classification
- transformers
- teacher-zoo
---
# {name}

A tiny teacher of teacher-zoo, trained from scratch by `benchmarks/build/make_text_zoo.py`
(seed {_SEED}).

- Architecture: `{config["architectures"][0]}`, {recipe.layers} layers of width {recipe.width},
  {config["vocab_size"]:,} pieces of words, texts of {_LENGTH} tokens at most
- Task: {recipe.task}: {len(config["id2label"])} classes, {texts:,} training texts,
  {recipe.epochs} epochs
- {apart}
- Measured: {accuracy:.1f} % ± {error:.1f} (one standard error) top-1 on
  {config["test_texts"]:,} test texts, with the float16 weights in this folder
- Weights: Apache-2.0. Training data, not part of this folder: {terms}
"""


@dataclass(frozen=True, kw_only=True)
class TextBuildOptions:
    """The options of ``benchmarks.build.make_text_zoo``."""

    data: Annotated[
        Path,
        typer.Option(help="folder with clinc150/ of train.parquet and test.parquet"),
    ]
    out: Annotated[
        Path | None, typer.Option(help="folder that takes the models (default: in the package)")
    ] = None
    models: Annotated[tuple[str, ...], typer.Option(help="only these names or globs")] = ("*",)
    steps: Annotated[
        int | None, typer.Option(help="stop each training after so many batches, for trying out")
    ] = None


def make_texts(options: TextBuildOptions) -> None:
    """Train the tiny text teachers that ship in the package; models that are there already are
    left as they are.
    """
    names = matching_names(TEXT_RECIPES, options.models)
    out = options.out or small_zoo()
    with Progress.default().over("text teachers", unit="models", total=len(names)) as meter:
        for name in names:
            meter.at_work_on(name)
            print(f"{name}: {_make(name, out, options)}", flush=True)
            meter.advance()


def _make(name: str, out: Path, options: TextBuildOptions) -> str:
    """Build one model if it is missing; returns what came of it, in words."""
    if (out / name / "config.json").is_file():
        return "there already"
    start = time.perf_counter()
    config = build_text_teacher(
        name, TEXT_RECIPES[name], data=options.data, out=out, steps=options.steps
    )
    size = sum(path.stat().st_size for path in (out / name).iterdir())
    return (
        f"{100 * config['accuracy']:.1f} % ± {100 * config['accuracy_se']:.1f} of"
        f" {config['test_texts']}, {size / 1024:.0f} KiB, {time.perf_counter() - start:.0f} s"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(
        command_of(TextBuildOptions, make_texts), argv, name="benchmarks.build.make_text_zoo"
    )


if __name__ == "__main__":
    raise SystemExit(main())
