"""Train the small zoo that ships in the package: ``python -m benchmarks.build.make_small_zoo --data
../shared/datasets``.

Real, tiny teachers on different tasks, with plain torch, in Hub layout. A model that is there
already is left as it is, so a stopped run goes on where it was.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.build.superclasses import SUPERCLASSES, classes_of
from selection.sources.parquet import read_split
from selection.sources.split import Split
from zoo.errors import UserError
from zoo.loading.preprocessing import Preprocessing
from zoo.sources.folder import card, small_zoo
from zoo.teacher import Teacher
from zoo.terminal.command import run, split_list

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
_RESNET = {"layers": [1, 1, 1, 1], "stem_type": "deep", "stem_width": 16, "output_stride": 16}
_CONVNEXT = {"depths": [1, 1, 2, 1], "dims": [24, 40, 56, 56], "patch_size": 2}
_VIT = {"patch_size": 7, "embed_dim": 64, "depth": 3, "num_heads": 2, "mlp_ratio": 2.0}
_LARGE, _MIDDLE, _LITTLE = (
    (32, 48, 64, 80),
    (32, 48, 48, 64),
    (16, 32, 48, 48),
)  # channels of the four stages


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe:
    """How one teacher comes about.

    ``size`` is its input in pixels, ``rate`` the one-cycle peak, ``group`` one of CIFAR-100's;
    ``half`` trains in bfloat16 on the CPU too (twice as fast for plain convolutions, slower for the
    others).
    """

    data: str
    architecture: str
    model_args: dict[str, Any] = field(default_factory=dict)
    size: int = 32
    epochs: int = 30
    rate: float = 4e-3
    group: str | None = None
    flip: bool = True
    half: bool = False
    shuffled: bool = False


def _resnet(data: str, channels: Sequence[int], **options: Any) -> PretrainingRecipe:
    return PretrainingRecipe(
        data=data,
        architecture="resnet18",
        model_args=_RESNET | {"channels": list(channels)},
        half=True,
        **options,
    )


def _convnext(data: str, **options: Any) -> PretrainingRecipe:
    return PretrainingRecipe(
        data=data, architecture="test_convnext", model_args=_CONVNEXT, **options
    )


def _efficientnet(data: str, **options: Any) -> PretrainingRecipe:
    return PretrainingRecipe(data=data, architecture="test_efficientnet", rate=6e-3, **options)


def _vit(data: str, **options: Any) -> PretrainingRecipe:
    return PretrainingRecipe(
        data=data,
        architecture="vit_tiny_patch16_224",
        model_args=_VIT,
        size=28,
        rate=2e-3,
        **options,
    )


RECIPES: dict[str, PretrainingRecipe] = {
    "resnet_mnist": _resnet("mnist", _LITTLE, size=28, epochs=12, flip=False),
    "resnet_fashion": _resnet("fashion_mnist", _LITTLE, size=28, epochs=10),
    "resnet_cifar10": _resnet("cifar10", _MIDDLE, epochs=40),
    "resnet_cifar10_b": _resnet("cifar10", _LITTLE, epochs=15, shuffled=True),
    "resnet_vehicles": _resnet("cifar100", _MIDDLE, group="vehicles", epochs=30),
    "resnet_plants": _resnet("cifar100", _MIDDLE, group="plants", epochs=24),
    "resnet_people_and_scenes": _resnet("cifar100", _MIDDLE, group="people and scenes", epochs=24),
    "resnet_animals": _resnet("cifar100", _LARGE, group="animals", epochs=10),
    "resnet_superclasses": _resnet("cifar100", _LARGE, group="superclasses", epochs=4),
    "efficientnet_mammals": _efficientnet("cifar100", group="mammals", epochs=16),
    "efficientnet_household": _efficientnet("cifar100", group="household", epochs=20),
    "efficientnet_fashion": _efficientnet("fashion_mnist", size=28, epochs=8),
    "efficientnet_flowers": _efficientnet("tf_flowers", size=64, epochs=20),
    "convnext_vehicles": _convnext("cifar100", group="vehicles", epochs=40),
    "convnext_cifar10": _convnext("cifar10", epochs=25),
    "vit_mnist": _vit("mnist", epochs=40, flip=False),
}


def build(
    name: str, recipe: PretrainingRecipe, *, data: Path, out: Path, device: str, steps: int | None
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
    model = _train(
        recipe,
        _pixels(train, preprocessing),
        torch.tensor(train.labels),
        len(train.classes),
        device=device,
        steps=steps,
    )
    folder = out / f".{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = _save(folder, recipe, model, train.classes, preprocessing)
    correct, n = _measure(folder, test)
    accuracy = correct / n
    config |= {
        "accuracy": round(accuracy, 4),
        "accuracy_se": round((accuracy * (1 - accuracy) / n) ** 0.5, 4),
        "test_images": n,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "README.md").write_text(_readme(name, recipe, config, len(train.labels)))
    folder.rename(out / name)
    return config


def _split(recipe: PretrainingRecipe, path: Path) -> Split:
    """The images that a recipe learns from or is tested on, with its own classes."""
    split = read_split([path])
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


def _pixels(split: Split, preprocessing: Preprocessing) -> Any:
    """(N, 3, H, W) uint8, as the trained model will see them."""
    import numpy as np
    import torch

    return (
        torch.from_numpy(
            np.stack([np.asarray(preprocessing.apply(image)) for image in split.images()])
        )
        .permute(0, 3, 1, 2)
        .contiguous()
    )


def _train(
    recipe: PretrainingRecipe,
    pixels: Any,
    labels: Any,
    num_classes: int,
    *,
    device: str,
    steps: int | None,
) -> Any:
    """AdamW on one cycle with label smoothing 0.1; pixels (N, 3, H, W) uint8 stay on the device."""
    import timm
    import torch
    import torch.nn.functional as F

    kind = torch.device(device).type
    draw = torch.Generator().manual_seed(_SEED)
    if recipe.shuffled:
        labels = _shuffled(labels, num_classes, draw)
    arguments = dict(recipe.model_args) | (
        {"img_size": recipe.size} if "vit" in recipe.architecture else {}
    )
    model = timm.create_model(recipe.architecture, num_classes=num_classes, **arguments)
    model = model.to(device, memory_format=torch.channels_last).train()
    pixels, labels = pixels.to(device), labels.to(device)
    total = steps or recipe.epochs * (len(pixels) // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=total, pct_start=0.2
    )
    for rows in _rows(len(pixels), total, draw):
        inputs = (
            _augment(pixels[rows.to(device)], draw, flip=recipe.flip).float().div_(127.5).sub_(1)
        )
        with torch.autocast(kind, torch.bfloat16, enabled=recipe.half or kind == "cuda"):
            logits = model(inputs.contiguous(memory_format=torch.channels_last))  # (B, C)
        loss = F.cross_entropy(logits.float(), labels[rows.to(device)], label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def _shuffled(labels: Any, num_classes: int, draw: Any) -> Any:
    """Labels that say nothing: the images of each class get all labels equally often, so no luck is
    left to learn.
    """
    import torch

    result = torch.empty_like(labels)
    for label in range(num_classes):
        rows = torch.nonzero(labels == label)[:, 0]
        result[rows[torch.randperm(len(rows), generator=draw)]] = (
            torch.arange(len(rows)) % num_classes
        )
    return result


def _rows(n: int, total: int, draw: Any) -> Iterator[Any]:
    """``total`` batches of row numbers, each epoch a new order, the last short batch left out."""
    import torch

    done = 0
    while done < total:
        for rows in torch.randperm(n, generator=draw).split(_BATCH)[: max(1, n // _BATCH)]:
            if done < total:
                done += 1
                yield rows


def _augment(pixels: Any, draw: Any, *, flip: bool) -> Any:
    """Each image (B, 3, H, W) shifted by up to an eighth of its side (reflected) and, if ``flip``,
    mirrored at random.
    """
    import torch
    import torch.nn.functional as F

    count, _, height, width = pixels.shape
    pad = height // 8
    padded = F.pad(pixels.float(), (pad,) * 4, mode="reflect").to(pixels.dtype)
    shift = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=draw)
    rows = shift[0] + torch.arange(height)
    columns = shift[1] + torch.arange(width)
    if flip:
        mirrored = torch.rand(count, 1, generator=draw) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    batch = torch.arange(count)[:, None, None]
    index = [part.to(pixels.device) for part in (batch, rows[:, :, None], columns[:, None, :])]
    return padded.permute(0, 2, 3, 1)[index[0], index[1], index[2]].permute(0, 3, 1, 2)


def _save(
    folder: Path,
    recipe: PretrainingRecipe,
    model: Any,
    classes: Sequence[str],
    preprocessing: Preprocessing,
) -> dict[str, Any]:
    """Weights as float16 and a config in timm's Hub layout; returns the config."""
    import torch
    from safetensors.torch import save_file

    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(
        {name: tensor.to(torch.float16) for name, tensor in state.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    arguments = dict(recipe.model_args) | (
        {"img_size": recipe.size} if "vit" in recipe.architecture else {}
    )
    config: dict[str, Any] = {
        "architecture": recipe.architecture,
        "num_classes": len(classes),
        "num_features": model.num_features,
        "model_args": arguments,
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
            **{
                part: model.pretrained_cfg.get(part)
                for part in ("pool_size", "first_conv", "classifier")
            },
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return config


def _measure(folder: Path, test: Split) -> tuple[int, int]:
    """Right answers and images of the saved model on the test split, through the same room that
    ranking uses.
    """
    logits = Teacher.load(card(folder)).outputs(test.images(), batch_size=256).logits
    return int((logits.argmax(1) == test.labels).sum()), len(test.labels)


def _readme(name: str, recipe: PretrainingRecipe, config: dict[str, Any], images: int) -> str:
    task = f"{recipe.data}, {recipe.group}" if recipe.group else recipe.data
    shuffled = (
        "\n**A decoy.** It was trained on shuffled labels, so its answers mean nothing: a good"
        " ranking puts it last.\n"
        if recipe.shuffled
        else ""
    )
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
{shuffled}
A tiny teacher of teacher-zoo, trained from scratch by `benchmarks/build/make_small_zoo.py` (seed {_SEED}).

- Architecture: timm `{recipe.architecture}` with `{json.dumps(config["model_args"])}`, input {recipe.size} x {recipe.size}
- Task: {task}: {config["num_classes"]} classes, {images:,} training images, {recipe.epochs} epochs
- Measured: {100 * config["accuracy"]:.1f} % ± {100 * config["accuracy_se"]:.1f} (one standard error) top-1 on
  {config["test_images"]:,} test images, with the float16 weights that lie here
- Weights: Apache-2.0. Training data, under its own terms and not part of this package: {_TERMS[recipe.data]}
"""  # noqa: E501


def main(argv: Sequence[str] | None = None) -> int:
    def command(
        data: Annotated[
            Path,
            typer.Option(
                help="folder with cifar100/, cifar10/, ... each train.parquet and test.parquet"
            ),
        ],
        out: Annotated[
            Path | None, typer.Option(help="folder that takes the models (default: in the package)")
        ] = None,
        models: Annotated[list[str] | None, typer.Option(help="only these names or globs")] = None,
        device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
        steps: Annotated[
            int | None,
            typer.Option(help="stop each training after so many batches, for trying out"),
        ] = None,
    ) -> None:
        """Train the tiny teachers that ship in the package; models that are there already are left
        as they are.
        """
        wanted = split_list(models) or ["*"]
        chosen = [name for name in RECIPES if any(fnmatch.fnmatch(name, glob) for glob in wanted)]
        if not chosen:
            raise UserError(f"no model matches {', '.join(wanted)} (valid: {', '.join(RECIPES)})")
        if not (data / RECIPES[chosen[0]].data / "train.parquet").is_file():
            raise UserError(
                f"no {RECIPES[chosen[0]].data}/train.parquet in {data}; expected the folder of the"
                " data sets"
            )
        folder = out or small_zoo()
        for number, name in enumerate(chosen, 1):
            if (folder / name / "config.json").is_file():
                print(f"[{number}/{len(chosen)}] {name}: there already", flush=True)
                continue
            start = time.perf_counter()
            config = build(name, RECIPES[name], data=data, out=folder, device=device, steps=steps)
            kib = (folder / name / "model.safetensors").stat().st_size / 1024
            print(
                f"[{number}/{len(chosen)}] {name}: {100 * config['accuracy']:.1f} % ±"
                f" {100 * config['accuracy_se']:.1f} of {config['test_images']}, {kib:.0f} KiB,"
                f" {time.perf_counter() - start:.0f} s",
                flush=True,
            )

    return run(command, argv, name="benchmarks.build.make_small_zoo")


if __name__ == "__main__":
    raise SystemExit(main())
