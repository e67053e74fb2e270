"""Train the small zoo that ships in the package: ``python -m benchmarks.build.make_small_zoo --data
../shared/datasets``.

Real, tiny teachers on different tasks, with plain torch, in Hub layout. A model that is there
already is left as it is, so a stopped run goes on where it was.
"""

from __future__ import annotations

import fnmatch
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.build.superclasses import SUPERCLASSES, classes_of
from benchmarks.build.zoo_recipes import RECIPES, PretrainingRecipe
from selection.kinds.image import IMAGE
from selection.sources.parquet import read_split
from selection.sources.split import Split
from zoo.errors import UserError
from zoo.files import replacing, write_json, write_text
from zoo.loading.inputs.preprocessing import Preprocessing
from zoo.sources.folder import card, small_zoo
from zoo.teacher import Teacher
from zoo.terminal.command import run
from zoo.terminal.options import command_of
from zoo.terminal.progress import Progress

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

_BATCH = 128
_SEED = 2026
_TERMS = {
    "cifar100": "CIFAR-100 (Krizhevsky 2009; no licence stated, citation asked)",
    "cifar10": "CIFAR-10 (Krizhevsky 2009; no licence stated, citation asked), a stratified subset",
    "fashion_mnist": "Fashion-MNIST (Zalando Research, MIT), a subset",
    "mnist": "MNIST (LeCun and Cortes, CC BY-SA 3.0), a subset",
    "tf_flowers": (
        "tf_flowers (photographs under CC BY 2.0, credited by photographer in the data set)"
    ),
}


def build(
    name: str,
    recipe: PretrainingRecipe,
    *,
    data: Path,
    out: Path,
    device: str,
    steps: int | None,
) -> dict[str, Any]:
    """Train, save and measure one teacher; returns its config. ``steps`` cuts the training short,
    for trying out.
    """
    import torch

    torch.manual_seed(_SEED)
    preprocessing = Preprocessing(
        input_size=(recipe.size, recipe.size),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        interpolation="bilinear",
        crop_pct=1.0,
    )
    train = _split(recipe, data / recipe.data / "train.parquet")
    test = _split(recipe, data / recipe.data / "test.parquet")
    images = _pixels(train, preprocessing), torch.from_numpy(train.labels)
    model = _train(
        recipe,
        *images,
        len(train.classes),
        device=device,
        steps=steps,
    )
    with replacing(out / name) as folder:
        folder.mkdir()
        config = _config(recipe, model, train.classes, preprocessing)
        _save(folder, model, config)
        config |= _measure(folder, test)
        write_json(folder / "config.json", config)
        write_text(
            folder / "README.md",
            _readme(
                name,
                recipe,
                config,
                len(train.labels),
            ),
        )
    return config


def _split(recipe: PretrainingRecipe, path: Path) -> Split:
    """The images that a recipe learns from or is tested on, with its own classes."""
    split = read_split([path], IMAGE)
    if recipe.group == "superclasses":
        parent = {name: group for group, names in SUPERCLASSES.items() for name in names}
        return _relabelled(split, parent, tuple(SUPERCLASSES))
    if recipe.group:
        classes = tuple(classes_of(recipe.group))
        return _relabelled(split, {name: name for name in classes}, classes)
    return split


def _relabelled(split: Split, new: Mapping[str, str], classes: tuple[str, ...]) -> Split:
    """The images of the classes in ``new``, each renamed by it, with labels in ``classes``."""
    import numpy as np

    places = [classes.index(new[name]) if name in new else -1 for name in split.classes]
    labels = np.asarray(places)[split.labels]
    rows = np.flatnonzero(labels >= 0)
    return replace(split.subset(rows), labels=labels[rows], classes=classes)


def _pixels(split: Split, preprocessing: Preprocessing) -> Tensor:
    """(N, 3, H, W) uint8, as the trained model will see them."""
    import numpy as np
    import torch

    images = np.stack([np.asarray(preprocessing.apply(image)) for image in split.samples()])
    return (
        torch.from_numpy(images)
        .permute(
            0,
            3,
            1,
            2,
        )
        .contiguous()
    )


def _train(
    recipe: PretrainingRecipe,
    pixels: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    device: str,
    steps: int | None,
) -> nn.Module:
    """AdamW on one cycle with label smoothing 0.1; pixels (N, 3, H, W) uint8 stay on the device."""
    import timm
    import torch
    import torch.nn.functional as F

    kind = torch.device(device).type
    draw = torch.Generator().manual_seed(_SEED)
    if recipe.shuffled:
        labels = _shuffled(labels, num_classes, draw)
    model: nn.Module = timm.create_model(
        recipe.architecture, num_classes=num_classes, **recipe.arguments
    )
    model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    pixels, labels = pixels.to(device), labels.to(device)
    total = steps or recipe.epochs * (len(pixels) // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=total, pct_start=0.2
    )
    for rows in batch_rows(len(pixels), total, draw):
        views = _augment(pixels[rows.to(device)], draw, flip=recipe.flip)  # (B, 3, H, W)
        inputs = views.float().div_(127.5).sub_(1)
        with torch.autocast(kind, torch.bfloat16, enabled=recipe.half or kind == "cuda"):
            logits = model(inputs.contiguous(memory_format=torch.channels_last))  # (B, C)
        loss = F.cross_entropy(logits.float(), labels[rows.to(device)], label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def _shuffled(labels: Tensor, num_classes: int, draw: Generator) -> Tensor:
    """Labels that say nothing: the images of each class get all labels equally often, so no luck is
    left to learn.
    """
    import torch

    result = torch.empty_like(labels)
    for label in range(num_classes):
        rows = torch.nonzero(labels == label)[:, 0]
        order = torch.randperm(len(rows), generator=draw)
        result[rows[order]] = torch.arange(len(rows)) % num_classes
    return result


def batch_rows(n: int, total: int, draw: Generator) -> Iterator[Tensor]:
    """``total`` batches of row numbers, each epoch a new order, the last short batch left out."""
    import torch

    done = 0
    while done < total:
        for rows in torch.randperm(n, generator=draw).split(_BATCH)[: max(1, n // _BATCH)]:
            if done < total:
                done += 1
                yield rows


def _augment(pixels: Tensor, draw: Generator, *, flip: bool) -> Tensor:
    """Each image (B, 3, H, W) shifted by up to an eighth of its side (reflected) and, if ``flip``,
    mirrored at random.
    """
    import torch
    import torch.nn.functional as F

    count, _, height, width = pixels.shape
    pad = height // 8
    padded = F.pad(pixels.float(), (pad,) * 4, mode="reflect").to(pixels.dtype)
    shift = torch.randint(
        0,
        2 * pad + 1,
        (2, count, 1),
        generator=draw,
    )
    rows = shift[0] + torch.arange(height)
    columns = shift[1] + torch.arange(width)
    if flip:
        mirrored = torch.rand(count, 1, generator=draw) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    batch = torch.arange(count)[:, None, None]
    index = [part.to(pixels.device) for part in (batch, rows[:, :, None], columns[:, None, :])]
    return padded.permute(
        0,
        2,
        3,
        1,
    )[index[0], index[1], index[2]].permute(
        0,
        3,
        1,
        2,
    )


def _config(
    recipe: PretrainingRecipe,
    model: Any,
    classes: Sequence[str],
    preprocessing: Preprocessing,
) -> dict[str, Any]:
    """The config in timm's Hub layout."""
    of_model = ("pool_size", "first_conv", "classifier")
    return {
        "architecture": recipe.architecture,
        "num_classes": len(classes),
        "num_features": model.num_features,
        "model_args": recipe.arguments,
        "label_names": [name.replace("_", " ") for name in classes],
        "pretrained_cfg": {
            "input_size": [3, recipe.size, recipe.size],
            "fixed_input_size": "vit" in recipe.architecture,
            "interpolation": preprocessing.interpolation,
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
            "num_classes": len(classes),
            "license": "apache-2.0",
            **{part: model.pretrained_cfg.get(part) for part in of_model},
        },
    }


def _save(folder: Path, model: nn.Module, config: Mapping[str, Any]) -> None:
    """The weights as float16, and the config."""
    import torch
    from safetensors.torch import save_file

    weights = {
        name: tensor.detach().cpu().contiguous().to(torch.float16)
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config)


def _measure(folder: Path, test: Split) -> dict[str, Any]:
    """The accuracy of the saved model on the test split, through the ``Teacher`` that ranking
    uses, as fields of its config.
    """
    logits = Teacher.load(card(folder)).outputs(test.samples(), batch_size=256).logits
    assert logits is not None, "a trained classifier has a head"
    accuracy = float((logits.argmax(1) == test.labels).mean())
    count = len(test.labels)
    return {
        "accuracy": round(accuracy, 4),
        "accuracy_se": round((accuracy * (1 - accuracy) / count) ** 0.5, 4),
        "test_images": count,
    }


def _readme(
    name: str,
    recipe: PretrainingRecipe,
    config: Mapping[str, Any],
    images: int,
) -> str:
    decoy = (
        "\n**A decoy.** It was trained on shuffled labels, so its answers mean nothing: a good"
        " ranking puts it last.\n"
        if recipe.shuffled
        else ""
    )
    accuracy, error = 100 * config["accuracy"], 100 * config["accuracy_se"]
    return f"""---
license: apache-2.0
library_name: timm
pipeline_tag: image-classification
datasets:
- {recipe.data}
tags:
- image-classification
- timm
- teacher-zoo
---
# {name}
{decoy}
A tiny teacher of teacher-zoo, trained from scratch by `benchmarks/build/make_small_zoo.py`
(seed {_SEED}).

- Architecture: timm `{recipe.architecture}` with `{json.dumps(config["model_args"])}`,
  input {recipe.size} x {recipe.size}
- Task: {recipe.task}: {config["num_classes"]} classes, {images:,} training images,
  {recipe.epochs} epochs
- Measured: {accuracy:.1f} % ± {error:.1f} (one standard error) top-1 on
  {config["test_images"]:,} test images, with the float16 weights in this folder
- Weights: Apache-2.0. Training data, under its own terms and not part of this package:
  {_TERMS[recipe.data]}
"""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """The options of ``benchmarks.build.make_small_zoo``."""

    data: Annotated[
        Path,
        typer.Option(
            help="folder with cifar100/, cifar10/, ... each train.parquet and test.parquet"
        ),
    ]
    out: Annotated[
        Path | None, typer.Option(help="folder that takes the models (default: in the package)")
    ] = None
    models: Annotated[tuple[str, ...], typer.Option(help="only these names or globs")] = ("*",)
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu"
    steps: Annotated[
        int | None, typer.Option(help="stop each training after so many batches, for trying out")
    ] = None


def matching_names(names: Iterable[str], globs: Sequence[str]) -> list[str]:
    """Those of ``names`` that one of ``globs`` matches; ``UserError`` where none does."""
    chosen = [name for name in names if any(fnmatch.fnmatch(name, glob) for glob in globs)]
    if not chosen:
        raise UserError(f"no model matches {', '.join(globs)} (valid: {', '.join(names)})")
    return chosen


def make(options: BuildOptions) -> None:
    """Train the tiny teachers that ship in the package; models that are there already are left
    as they are.
    """
    names = matching_names(RECIPES, options.models)
    first = RECIPES[names[0]].data
    if not (options.data / first / "train.parquet").is_file():
        raise UserError(
            f"no {first}/train.parquet in {options.data}; expected the folder of the data sets"
        )
    out = options.out or small_zoo()
    with Progress.default().over("small zoo", unit="models", total=len(names)) as meter:
        for name in names:
            meter.at_work_on(name)
            print(f"{name}: {_make(name, out, options)}", flush=True)
            meter.advance()


def _make(name: str, out: Path, options: BuildOptions) -> str:
    """Build one model if it is missing; returns what came of it, in words."""
    if (out / name / "config.json").is_file():
        return "there already"
    start = time.perf_counter()
    config = build(
        name,
        RECIPES[name],
        data=options.data,
        out=out,
        device=options.device,
        steps=options.steps,
    )
    size = (out / name / "model.safetensors").stat().st_size
    return (
        f"{100 * config['accuracy']:.1f} % ± {100 * config['accuracy_se']:.1f} of"
        f" {config['test_images']}, {size / 1024:.0f} KiB, {time.perf_counter() - start:.0f} s"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(command_of(BuildOptions, make), argv, name="benchmarks.build.make_small_zoo")


if __name__ == "__main__":
    raise SystemExit(main())
