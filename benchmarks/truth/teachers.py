"""The teachers of the truth tables: what they were trained on, and their outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.build.make_small_zoo import build
from benchmarks.build.superclasses import SUPERCLASSES, classes_of
from benchmarks.build.zoo_recipes import RECIPES, PretrainingRecipe
from benchmarks.record import append_rows, read_rows
from benchmarks.shared import existing_shared, shared
from benchmarks.truth.targets import TARGETS, Target, training
from selection.probing.store import NewRows, StoreKey, TeacherStore, outputs_of, run_teacher
from selection.sources.images import as_ppm, image_digest
from zoo.card import ModelCard
from zoo.files import replacing
from zoo.home import feature_folder
from zoo.sources import folder
from zoo.teacher import Teacher
from zoo.terminal.progress import Progress

TEACHERS = "truth_teachers.jsonl"
LARGEST_INPUT = 96  # pixels that a teacher sees at most: the images are small


def _like(model: str, data: str, **options: Any) -> PretrainingRecipe:
    """The recipe of the packaged ``model`` for other data."""
    return replace(RECIPES[model], data=data, **{"group": None, "flip": True, **options})


# Trained by this benchmark only: architectures x source tasks, and decoys.
FURTHER: dict[str, PretrainingRecipe] = {
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
# near-duplicates: 1 % noise
COPIES = {"resnet_animals_copy": "resnet_animals", "convnext_cifar10_copy": "convnext_cifar10"}


@dataclass(frozen=True, kw_only=True, eq=False)
class TableTeacher:
    """One teacher: its ``card``, and the classes (dataset, class) of our datasets that it was
    trained on.
    """

    card: ModelCard
    trained_classes: frozenset[tuple[str, str]]

    def trained_on(self, target: Target) -> bool:
        """Whether it has seen images of the target's classes; such a cell is left out of the
        tables.
        """
        return any((target.dataset, name) in self.trained_classes for name in target.classes)


@dataclass(frozen=True, kw_only=True)
class TeacherFacts:
    """What the tables keep of a teacher's card, so that they can be read without its weights."""

    id: str
    parameters: float
    classes: int
    width: int
    pixels: int
    words: tuple[str, ...]  # family of the architecture, training data, how many classes have names
    barred: tuple[
        str, ...
    ] = ()  # targets left out for it: it was trained on images of their classes

    @classmethod
    def of(cls, teacher: TableTeacher) -> TeacherFacts:
        """Facts of the card; a missing number is replaced by a typical one."""
        card = teacher.card
        family = str(card.architecture).split("_")[0]
        words = {family, *(card.datasets or ()), f"labels {len(card.labels or ())}"}
        return cls(
            id=card.id,
            parameters=card.params_total or 1e6,
            classes=card.num_classes or 0,
            width=card.feature_dim or 100,
            pixels=card.input_size or 224,
            words=tuple(sorted(words)),
            barred=tuple(name for name, target in TARGETS.items() if teacher.trained_on(target)),
        )


def add_facts(path: Path, teachers: Iterable[TableTeacher]) -> None:
    """Add to the table of teachers, JSON Lines, those that are not in it."""
    known = {facts.id for facts in read_facts(path)}
    new = [asdict(TeacherFacts.of(each)) for each in teachers if each.card.id not in known]
    if new:
        append_rows(path, new)


def read_facts(path: Path) -> list[TeacherFacts]:
    """The table of teachers."""
    return [
        TeacherFacts(**{**row, "words": tuple(row["words"]), "barred": tuple(row["barred"])})
        for row in read_rows(path)
    ]


def available_teachers(home: Path) -> list[TableTeacher]:
    """The real models of ../shared, the packaged ones, and those that ``make`` has made so far."""
    real, made = (
        folder.cards(source) if source.is_dir() else ()
        for source in (shared("models"), home / "zoo")
    )
    cards = [*real, *folder.cards(folder.small_zoo(), source="small"), *made]
    return [TableTeacher(card=card, trained_classes=_trained_classes(card.id)) for card in cards]


def _trained_classes(name: str) -> frozenset[tuple[str, str]]:
    """The classes of our datasets that a teacher was trained on.

    The real models of ../shared were trained on ImageNet or iNaturalist, which share no image with
    our datasets, except those with ``cifar10`` in their name.
    """
    recipe = (RECIPES | FURTHER).get(COPIES.get(name, name))
    data, group = (recipe.data, recipe.group) if recipe else ("cifar10", None)
    if recipe is None and not name.endswith("_cifar10"):
        return frozenset()
    if group and group != "superclasses":
        classes = set(classes_of(group))
    elif data == "cifar100":
        classes = {each for classes in SUPERCLASSES.values() for each in classes}
    else:
        targets = [target for target in TARGETS.values() if target.dataset == data]
        classes = {each for target in targets for each in target.classes}
    return frozenset((data, each) for each in classes)


def make(
    home: Path,
    *,
    names: Sequence[str] = (),
    device: str = "cpu",
    steps: int | None = None,
) -> list[Path]:
    """Train ``FURTHER`` (all, or ``names``) and copy ``COPIES`` into ``home/zoo``; what is there
    already stays.
    """
    out = home / "zoo"
    out.mkdir(parents=True, exist_ok=True)
    missing = [
        name
        for name in (*COPIES, *FURTHER)
        if (not names or name in names) and not (out / name / "config.json").is_file()
    ]
    with Progress.default().over("teachers", unit="teachers", total=len(missing)) as meter:
        for name in missing:
            meter.at_work_on(name)
            if name in COPIES:
                _copy(folder.small_zoo() / COPIES[name], out / name)
            else:
                data = existing_shared("datasets")
                build(
                    name,
                    FURTHER[name],
                    data=data,
                    out=out,
                    device=device,
                    steps=steps,
                )
            meter.advance()
    return sorted(out.iterdir())


def _copy(source: Path, target: Path) -> None:
    """A near-duplicate: every weight times 1 + 0.01 N(0, 1)."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    draw = torch.Generator().manual_seed(0)
    weights = {}
    for key, value in load_file(source / "model.safetensors").items():
        noise = 1 + 0.01 * torch.randn(value.shape, generator=draw)
        weights[key] = (value.float() * noise).to(value.dtype)
    with replacing(target) as partial:
        shutil.copytree(source, partial)
        save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})


class TargetOutputs:
    """The outputs of teachers on the training images of targets, in the store that ranking and
    distillation use: a teacher sees no image twice.
    """

    def __init__(self, home: Path, *, device: str = "cpu") -> None:
        self.home, self.device = home, device
        self.store = TeacherStore(feature_folder())
        self._loaded: Teacher | None = None

    def arrays(self, card: ModelCard, target: Target) -> Mapping[str, npt.NDArray[np.float32]]:
        """``features`` (C * pool, D) and, if the teacher has a classifier, ``logits``
        (C * pool, C_t), of ``targets.training``, class by class.
        """
        pixels = training(target, self.home)  # (C * pool, S, S, 3)
        key = StoreKey.of(card, device=self.device, largest=LARGEST_INPUT)
        digests = [image_digest(as_ppm(image)) for image in pixels]
        stored = outputs_of(
            self.store,
            key,
            digests,
            lambda rows: self.compute(card, pixels[list(rows)]),
        )
        return stored.arrays

    def compute(self, card: ModelCard, pixels: npt.NDArray[np.uint8]) -> NewRows:
        """The outputs on ``pixels`` (n, S, S, 3), whatever is stored."""
        return run_teacher(self._teacher(card), [Image.fromarray(image) for image in pixels])

    def _teacher(self, card: ModelCard) -> Teacher:
        if self._loaded is None or self._loaded.card.id != card.id:
            self._loaded = Teacher.load(
                card, device=self.device, offline=True, largest=LARGEST_INPUT
            )
        return self._loaded
