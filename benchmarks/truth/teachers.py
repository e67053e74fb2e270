"""The teachers of the truth tables: who they are, what they were trained on, and what they
answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.build.make_small_zoo import RECIPES, PretrainingRecipe, build
from benchmarks.build.superclasses import SUPERCLASSES, classes_of
from benchmarks.record import append_rows
from benchmarks.truth.targets import TARGETS, Target, datasets, shared, training
from selection.probing.store import NewRows, StoreKey, TeacherStore, outputs_of, run_teacher
from selection.sources.images import as_ppm, image_digest
from zoo.card import ModelCard
from zoo.home import feature_folder
from zoo.sources import folder
from zoo.teacher import Teacher

TEACHERS = "truth_teachers.jsonl"
LARGEST_INPUT = 96  # pixels that a teacher sees at most: the images are small


def _like(model: str, data: str, **options: Any) -> PretrainingRecipe:
    """The recipe of the packaged ``model`` for other data."""
    return replace(RECIPES[model], data=data, **{"group": None, "flip": True, **options})


FURTHER: dict[
    str, PretrainingRecipe
] = {  # trained by this benchmark only, to 40 and more: architectures x source tasks, and decoys
    "vit_cifar10": _like("vit_mnist", "cifar10", epochs=40),
    "efficientnet_cifar10": _like("efficientnet_household", "cifar10", epochs=25),
    "vit_plants": _like("vit_mnist", "cifar100", group="plants", epochs=20),
    "convnext_plants": _like("convnext_vehicles", "cifar100", group="plants", epochs=24),
    "efficientnet_vehicles": _like(
        "efficientnet_household", "cifar100", group="vehicles", epochs=30
    ),
    "convnext_household": _like("convnext_vehicles", "cifar100", group="household", epochs=24),
    "resnet_mammals": _like("resnet_animals", "cifar100", group="mammals", epochs=12),
    "efficientnet_people_and_scenes": _like(
        "efficientnet_household", "cifar100", group="people and scenes", epochs=20
    ),
    "vit_animals": _like("vit_mnist", "cifar100", group="animals", epochs=10),
    "resnet_flowers": _like("resnet_plants", "tf_flowers", size=64, epochs=20),
    "convnext_fashion": _like("convnext_cifar10", "fashion_mnist", epochs=8),
    "efficientnet_mnist": _like("efficientnet_fashion", "mnist", epochs=10, flip=False),
    "resnet_animals_decoy": _like(
        "resnet_animals", "cifar100", group="animals", epochs=4, shuffled=True
    ),
    "convnext_fashion_decoy": _like("convnext_cifar10", "fashion_mnist", epochs=4, shuffled=True),
}
COPIES = {
    "resnet_animals_copy": "resnet_animals",
    "convnext_cifar10_copy": "convnext_cifar10",
}  # near-duplicates: 1 % noise


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One teacher: its ``card``, and the classes it was ``trained`` on, (dataset, class), where
    they are of our datasets.
    """

    card: ModelCard
    trained: frozenset[tuple[str, str]]

    def knows(self, target: Target) -> bool:
        """Whether it was trained on images of the target's classes; such a cell is left out of the
        tables.
        """
        return any((target.dataset, name) in self.trained for name in target.classes)


@dataclass(frozen=True, kw_only=True)
class Described:
    """What the tables keep of a teacher's card, so that they can be read where its weights are not
    at hand.
    """

    id: str
    parameters: float
    classes: int
    width: int
    pixels: int
    words: tuple[str, ...]  # family of the architecture, training data, how many classes have names
    barred: tuple[str, ...] = ()  # targets of whose classes it was trained on images

    @classmethod
    def of(cls, entry: Entry) -> Described:
        """Where the card is silent, a middling number stands."""
        card = entry.card
        words = {
            str(card.architecture).split("_")[0],
            *(card.datasets or ()),
            f"labels {len(card.labels or ())}",
        }
        return cls(
            id=card.id,
            parameters=card.params_total or 1e6,
            classes=card.num_classes or 0,
            width=card.feature_dim or 100,
            pixels=card.input_size or 224,
            words=tuple(sorted(words)),
            barred=tuple(name for name, target in TARGETS.items() if entry.knows(target)),
        )


def describe(path: Path, found: Iterable[Entry]) -> None:
    """Add to the table of teachers, JSON Lines, those that are not in it."""
    known = {one.id for one in described(path)}
    new = [asdict(Described.of(entry)) for entry in found if entry.card.id not in known]
    if new:
        append_rows(path, new)


def described(path: Path) -> list[Described]:
    """The table of teachers."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [
        Described(**{**row, "words": tuple(row["words"]), "barred": tuple(row["barred"])})
        for row in map(json.loads, lines)
    ]


def entries(home: Path) -> list[Entry]:
    """The real models of ../shared, the packaged ones, and those of this benchmark that ``make``
    has made so far.
    """
    real = folder.cards(shared() / "models") if (shared() / "models").is_dir() else ()
    cards = [
        *real,
        *folder.cards(folder.small_zoo(), source="small"),
        *(folder.cards(home / "zoo") if (home / "zoo").is_dir() else ()),
    ]
    return [Entry(card=card, trained=_trained(card.id)) for card in cards]


def _trained(name: str) -> frozenset[tuple[str, str]]:
    recipe = (RECIPES | FURTHER).get(COPIES.get(name, name))
    data = (
        "cifar10" if name.endswith("_cifar10") and recipe is None else recipe.data if recipe else ""
    )
    if not data:
        return frozenset()  # ImageNet and iNaturalist: none of these images
    every = (
        [one for classes in SUPERCLASSES.values() for one in classes]
        if data == "cifar100"
        else None
    )
    group = recipe.group if recipe else None
    names = classes_of(group) if group and group != "superclasses" else every
    known = names or {
        one for target in TARGETS.values() if target.dataset == data for one in target.classes
    }
    return frozenset((data, one) for one in known)


def make(
    home: Path, *, names: Sequence[str] = (), device: str = "cpu", steps: int | None = None
) -> list[Path]:
    """Train ``FURTHER`` (all, or ``names``) and copy ``COPIES`` into ``home/zoo``; what is there
    already stays.
    """
    out = home / "zoo"
    out.mkdir(parents=True, exist_ok=True)
    for name in (wanted for wanted in (*COPIES, *FURTHER) if not names or wanted in names):
        if not (out / name / "config.json").is_file():
            if name in COPIES:
                _copy(folder.small_zoo() / COPIES[name], out / name)
            else:
                build(name, FURTHER[name], data=datasets(), out=out, device=device, steps=steps)
            print(f"made {name}", flush=True)
    return sorted(out.iterdir())


def _copy(source: Path, target: Path) -> None:
    """A near-duplicate: every weight times 1 + 0.01 N(0, 1)."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    draw = torch.Generator().manual_seed(0)
    weights = {
        key: (value.float() * (1 + 0.01 * torch.randn(value.shape, generator=draw))).to(value.dtype)
        for key, value in load_file(source / "model.safetensors").items()
    }
    part = target.with_name(f".{target.name}")
    shutil.copytree(source, part, dirs_exist_ok=True)
    save_file(weights, part / "model.safetensors", metadata={"format": "pt"})
    part.rename(target)


class Answers:
    """The outputs of teachers on the training images of targets, in the store that ranking and
    distillation use: a teacher sees no image twice.
    """

    def __init__(self, home: Path, *, device: str = "cpu") -> None:
        self.home, self.device = home, device
        self.store = TeacherStore(feature_folder())
        self._loaded: Teacher | None = None

    def of(
        self, card: ModelCard, target: Target
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """Features (C * pool, D) and logits (C * pool, C_t) or None, float32, of
        ``targets.training``, class by class.
        """
        pixels = training(target, self.home)  # (C * pool, S, S, 3)

        key = StoreKey.of(card, device=self.device, largest=LARGEST_INPUT)
        digests = [image_digest(as_ppm(image)) for image in pixels]
        arrays = outputs_of(
            self.store, key, digests, lambda rows: self.compute(card, pixels[list(rows)])
        ).arrays
        return arrays["features"], arrays.get("logits")

    def compute(self, card: ModelCard, pixels: npt.NDArray[np.uint8]) -> NewRows:
        """The outputs on ``pixels`` (n, S, S, 3), whatever is stored."""
        return run_teacher(self._teacher(card), [Image.fromarray(image) for image in pixels])

    def _teacher(self, card: ModelCard) -> Teacher:
        if self._loaded is None or self._loaded.card.id != card.id:
            self._loaded = Teacher.load(
                card, device=self.device, offline=True, largest=LARGEST_INPUT
            )
        return self._loaded
