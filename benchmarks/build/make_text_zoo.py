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
from benchmarks.build.make_small_zoo import matching_names
from benchmarks.build.opinions import made_opinions
from benchmarks.build.text_recipes import TEXT_RECIPES, TextRecipe
from benchmarks.build.text_training import (
    LENGTH,
    SEED,
    network_of,
    tokenizer_of,
    train_classifier,
    train_encoder,
)
from zoo.errors import UserError
from zoo.files import replacing, write_bytes, write_json, write_text
from zoo.sources.folder import card, small_zoo
from zoo.teacher import Teacher
from zoo.terminal.command import run
from zoo.terminal.options import command_of
from zoo.terminal.progress import Progress

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

_OPINIONS = {"train": 4_000, "test": 1_000}
_CLINC150_TERMS = (
    'CLINC150 (Larson et al., "An Evaluation Dataset for Intent Classification and Out-of-Scope'
    ' Prediction", EMNLP 2019; https://github.com/clinc/oos-eval), CC BY 3.0'
    " (https://creativecommons.org/licenses/by/3.0/)"
)
_ENCODER_TERMS = (
    "the vectors are those of sentence-transformers/paraphrase-MiniLM-L3-v2 (Apache-2.0; Reimers"
    " and Gurevych 2019)"
)
_OPINIONS_TERMS = "made by `benchmarks/build/opinions.py`"


def build_text_teacher(
    name: str,
    recipe: TextRecipe,
    *,
    data: Path,
    out: Path,
    encoder: Path | None,
    steps: int | None,
) -> dict[str, Any]:
    """Train, save and measure one teacher; returns its config. ``steps`` cuts the training short,
    for trying out.
    """
    train, test = texts_of(recipe, data, "train"), texts_of(recipe, data, "test")
    tokenizer = tokenizer_of(recipe, train.texts)
    network = network_of(recipe, train, tokenizer)
    if recipe.imitates:
        if encoder is None:
            raise UserError(f"{name} imitates an encoder: give its folder with --encoder")
        targets = _targets(encoder, train.texts)
        train_encoder(recipe, network, tokenizer, train.texts, targets, steps)
    else:
        train_classifier(recipe, network, tokenizer, train, steps)
    with replacing(out / name) as folder:
        folder.mkdir()
        config = _save(folder, network, tokenizer)
        config |= (
            _explained(folder, encoder, train, test)
            if encoder and recipe.imitates
            else _measure(folder, test)
        )
        write_json(folder / "config.json", config)
        write_text(folder / "README.md", _readme(name, recipe, config, len(train.texts)))
    return config


def texts_of(recipe: TextRecipe, data: Path, split: str) -> LabelledTexts:
    """The texts that ``recipe`` learns from or is tested on; ``data`` holds ``clinc150/``."""
    if recipe.domains:
        return read_clinc150(data / "clinc150", split).renamed(recipe.classes)
    return made_opinions(split, _OPINIONS[split])


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
    write_json(folder / "tokenizer_config.json", tokenizer_settings(content, LENGTH))
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


def _targets(encoder: Path, texts: Sequence[str]) -> Tensor:
    """(N, D) the encoder's features of the texts, each of mean 0 and variance 1."""
    import torch

    features = torch.from_numpy(Teacher.load(card(encoder)).outputs(texts).features).float()
    centred = features - features.mean(0)
    return centred / centred.std(0).clamp(min=1e-6)


def _explained(
    folder: Path,
    encoder: Path,
    train: LabelledTexts,
    test: LabelledTexts,
) -> dict[str, Any]:
    """The share of the variance of the encoder's features on the test texts, their mean, that a
    linear map of the saved model's features tells, as fields of its config.
    """
    from sklearn.linear_model import Ridge

    student, teacher = Teacher.load(card(folder)), Teacher.load(card(encoder))
    texts = train.texts[:: len(train.texts) // 2_000 or 1]
    told = Ridge().fit(student.outputs(texts).features, teacher.outputs(texts).features)
    wanted = teacher.outputs(test.texts).features  # (n, D)
    errors = wanted - told.predict(student.outputs(test.texts).features)
    share = 1 - (errors.var(0) / wanted.var(0)).mean()
    return {"explained": round(float(share), 3), "test_texts": len(test.texts)}


def _readme(
    name: str,
    recipe: TextRecipe,
    config: Mapping[str, Any],
    texts: int,
) -> str:
    classes = "no classes" if recipe.imitates else f"{len(config['id2label'])} classes"
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: {"feature-extraction" if recipe.imitates else "text-classification"}
language: en
datasets:
- {"clinc_oos" if recipe.domains else "made-up opinions"}
tags:
- transformers
- teacher-zoo
---
# {name}

A tiny teacher of teacher-zoo, trained from scratch by `benchmarks/build/make_text_zoo.py`
(seed {SEED}).

- Architecture: `{config["architectures"][0]}`, {recipe.layers} layers of width {recipe.width},
  {config["vocab_size"]:,} pieces of words, texts of {LENGTH} tokens at most
- Task: {recipe.task}: {classes}, {texts:,} training texts, {recipe.epochs} epochs
- {_apart(recipe)}
- Measured: {_figure(config)} {"explained" if recipe.imitates else "(one standard error) top-1"} on
  {config["test_texts"]:,} test texts, with the float16 weights in this folder
- Weights: Apache-2.0. Training data, not part of this folder: {_terms(recipe)}
"""


def _apart(recipe: TextRecipe) -> str:
    """What keeps the test apart from the training, in a sentence."""
    if recipe.imitates:
        return (
            "The training texts of the packaged task `requests` are among its texts; it saw no"
            " label, and no test text."
        )
    if recipe.domains:
        return (
            "No text of CLINC150's domain `home`, of which the packaged task `requests` is made,"
            " was learned from."
        )
    return "The test texts are about other products than the training texts."


def _terms(recipe: TextRecipe) -> str:
    terms = _CLINC150_TERMS if recipe.domains else _OPINIONS_TERMS
    return f"{terms}; {_ENCODER_TERMS}" if recipe.imitates else terms


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
    encoder: Annotated[
        Path | None, typer.Option(help="folder of the encoder that bert_sentences imitates")
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
        name,
        TEXT_RECIPES[name],
        data=options.data,
        out=out,
        encoder=options.encoder,
        steps=options.steps,
    )
    size = sum(path.stat().st_size for path in (out / name).iterdir())
    seconds = time.perf_counter() - start
    return f"{_figure(config)} of {config['test_texts']}, {size / 1024:.0f} KiB, {seconds:.0f} s"


def _figure(config: Mapping[str, Any]) -> str:
    if "accuracy" not in config:
        return f"{100 * config['explained']:.1f} % of the vectors' variance"
    return f"{100 * config['accuracy']:.1f} % ± {100 * config['accuracy_se']:.1f}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(
        command_of(TextBuildOptions, make_texts), argv, name="benchmarks.build.make_text_zoo"
    )


if __name__ == "__main__":
    raise SystemExit(main())
