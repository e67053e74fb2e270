"""The target tasks of the truth tables: few labelled images of real data that the teachers were not
trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.build.superclasses import GROUPS, SUPERCLASSES
from benchmarks.shared import existing_shared
from zoo.files import replacing

# training images a class
POOL = {"cifar100": 180, "cifar10": 200, "fashion_mnist": 400, "mnist": 400, "tf_flowers": 400}
# width and height of the images, in pixels, as teachers see them
SIDE = {"cifar100": 32, "cifar10": 32, "fashion_mnist": 28, "mnist": 28, "tf_flowers": 96}
TASK_IMAGES = 2000  # training images of a task, labelled and not
_ORDER_SEED = 7  # of the order in which training images are taken, for all tasks and seeds


@dataclass(frozen=True, kw_only=True)
class Target:
    """``classes`` of ``dataset``, ``labels`` labelled images of each; ``group`` marks related
    tasks, left out together.
    """

    name: str
    group: str
    dataset: str
    classes: tuple[str, ...]
    labels: int

    @property
    def pool(self) -> int:
        """Training images a class, the labelled ones among them."""
        return min(POOL[self.dataset], TASK_IMAGES // len(self.classes))

    def labelled(self, seed: int) -> npt.NDArray[np.bool_]:
        """(C, pool) which training images of each class have a label, drawn by ``seed``."""
        rng = np.random.default_rng((seed, len(self.name), *self.name.encode()))
        return rng.permuted(
            np.tile(np.arange(self.pool) < self.labels, (len(self.classes), 1)), axis=1
        )


def _cifar(
    name: str,
    group: str,
    superclasses: tuple[str, ...],
    labels: int,
) -> Target:
    classes = tuple(sorted(c for superclass in superclasses for c in SUPERCLASSES[superclass]))
    return Target(
        name=name,
        group=group,
        dataset="cifar100",
        classes=classes,
        labels=labels,
    )


def _other(
    name: str,
    dataset: str,
    classes: tuple[str, ...],
    labels: int,
) -> Target:
    return Target(
        name=name,
        group=dataset,
        dataset=dataset,
        classes=classes,
        labels=labels,
    )


_FASHION = (
    "T-shirt top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_DIGITS = tuple("0123456789")
_FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
_CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        # The first sixteen and more: one of each kind comes early, so that an unfinished table
        # already says something.
        _cifar("vehicles_25", "vehicles", GROUPS["vehicles"], 25),
        _cifar("sea_25", "animals", ("aquatic mammals", "fish"), 25),
        _cifar("flora_25", "plants", ("flowers", "fruit and vegetables"), 25),
        _cifar(
            "outdoors_25",
            "people and scenes",
            ("large man-made outdoor things", "large natural outdoor scenes"),
            25,
        ),
        _cifar("household_25", "household", GROUPS["household"], 25),
        _other("flowers_25", "tf_flowers", _FLOWERS, 25),
        _other("clothes_25", "fashion_mnist", _FASHION[:5], 25),
        _cifar("mixed_25", "mixed", ("reptiles", "trees", "food containers", "vehicles 1"), 25),
        _other("digits_10", "mnist", _DIGITS, 10),
        _cifar("bugs_25", "animals", ("insects", "non-insect invertebrates"), 25),
        _cifar("beasts_50", "animals", ("large carnivores", "large omnivores and herbivores"), 50),
        _cifar("small_mammals_10", "animals", ("medium-sized mammals", "small mammals"), 10),
        _cifar("orchard_10", "plants", ("fruit and vegetables", "trees"), 10),
        _cifar(
            "rooms_10", "household", ("household electrical devices", "household furniture"), 10
        ),
        _cifar("city_50", "people and scenes", ("large man-made outdoor things", "people"), 50),
        _cifar(
            "mixed_b_10",
            "mixed",
            ("fish", "fruit and vegetables", "household furniture", "vehicles 2"),
            10,
        ),
        _other("shoes_10", "fashion_mnist", _FASHION[5:], 10),
        _other("flowers_10", "tf_flowers", _FLOWERS, 10),
        # Two dozen and more: what a longer run or a GPU adds.
        _cifar("vehicles_10", "vehicles", GROUPS["vehicles"], 10),
        _cifar("plants_25", "plants", GROUPS["plants"], 25),
        _cifar("shells_50", "animals", ("reptiles", "non-insect invertebrates"), 50),
        _cifar(
            "mixed_c_25",
            "mixed",
            ("insects", "people", "household electrical devices", "large natural outdoor scenes"),
            25,
        ),
        _other("cifar10_25", "cifar10", _CIFAR10, 25),
        _other("digits_low_25", "mnist", _DIGITS[:5], 25),
        _other("digits_high_10", "mnist", _DIGITS[5:], 10),
        _other("clothes_all_10", "fashion_mnist", _FASHION, 10),
        _other("flowers_50", "tf_flowers", _FLOWERS, 50),
    )
}


@dataclass(frozen=True, eq=False)
class Images:
    """A dataset by class, square and decoded: ``train[c]`` (n_c, S, S, 3) uint8 in a fixed random
    order; ``test`` likewise.
    """

    train: dict[str, npt.NDArray[np.uint8]]
    test: dict[str, npt.NDArray[np.uint8]]


@cache
def images(dataset: str, home: Path) -> Images:
    """All of ``dataset``, from ``home`` where an earlier call left it decoded; ``UserError`` where
    it is not at hand.
    """
    parts = []
    for part in ("train", "test"):
        decoded = home / "pixels" / f"{dataset}-{part}-{SIDE[dataset]}.npz"
        if not decoded.is_file():
            source = existing_shared("datasets") / dataset / f"{part}.parquet"
            _decode(source, SIDE[dataset], decoded)
        with np.load(decoded) as stored:
            parts.append({name: stored[name] for name in stored.files})
    return Images(*parts)


def _decode(path: Path, side: int, decoded: Path) -> None:
    """Write a Parquet file's images, ``side`` pixels wide and high, by class to ``decoded``."""
    from PIL import ImageOps

    from selection.kinds.image import IMAGE
    from selection.sources.parquet import read_split

    split = read_split([path], IMAGE)
    pixels = np.stack([np.asarray(ImageOps.fit(image, (side, side))) for image in split.samples()])
    order = np.random.default_rng(_ORDER_SEED).permutation(len(pixels))
    by_class = {
        name.replace("/", " "): pixels[order[split.labels[order] == c]]
        for c, name in enumerate(split.classes)
    }
    with replacing(decoded) as partial, partial.open("wb") as file:
        np.savez(file, **by_class)


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Images (n, S, S, 3) uint8 with labels (n,) that no student learns from; the first
    ``test_count`` are the official test split.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    test_count: int


def held_out(target: Target, home: Path) -> HeldOut:
    """The test split, then the training images beyond the pool: no student of any seed sees them,
    so they serve as well.
    """
    data = images(target.dataset, home)
    test = [data.test[name] for name in target.classes]
    rest = [data.train[name][POOL[target.dataset] :] for name in target.classes]
    counts = [len(part) for part in (*test, *rest)]
    classes = np.tile(np.arange(len(target.classes)), 2)
    return HeldOut(
        images=np.concatenate([*test, *rest]),
        labels=np.repeat(classes, counts).astype(np.int64),
        test_count=sum(counts[: len(target.classes)]),
    )


def training(target: Target, home: Path) -> npt.NDArray[np.uint8]:
    """(C * pool, S, S, 3) training images, class by class."""
    data = images(target.dataset, home)
    return np.concatenate([data.train[name][: target.pool] for name in target.classes])
