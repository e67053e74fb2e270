"""How much of the CIFAR-100 protocol is run, and on which images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.shared import shared
from zoo.errors import UserError
from zoo.files import replacing
from zoo.home import benchmark_folder

if TYPE_CHECKING:
    from distill.data.samples import Samples

TRAIN, TEST, EPOCHS = 50_000, 10_000, 240


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How much of the protocol is run: the first ``images`` of the training and ``test_images`` of
    the test split, classes in turn. ``jobs`` students train at once. ``graphs`` lets stages run as
    CUDA graphs.
    """

    device: str
    epochs: int = EPOCHS
    images: int = TRAIN
    test_images: int = TEST
    seeds: int = 1
    jobs: int = 1
    precision: str = "fp32"  # convolutions of a GPU then run in TF32
    graphs: bool = True
    data: Path = field(default_factory=lambda: shared("datasets", "cifar100"))
    folder: Path = field(default_factory=lambda: benchmark_folder("cifar100"))

    @property
    def whole(self) -> bool:
        """Whether this is the published protocol, and not a part of it."""
        return (self.epochs, self.images, self.test_images) == (EPOCHS, TRAIN, TEST)

    @property
    def part(self) -> str:
        """How much is trained, in words."""
        return f"{self.epochs} epochs of {self.images} images"

    @property
    def home(self) -> Path:
        """The folder of this setting's images, outputs and runs."""
        kind = self.device.partition(":")[0]
        return self.folder / f"{self.images}x{self.epochs}-{kind}-{self.precision}"


def default(device: str | None = None) -> Setting:
    """The whole protocol if there is a GPU, otherwise a part of it; on ``device``, if given."""
    import torch

    if torch.cuda.is_available():
        return Setting(device=device or "cuda", jobs=4)
    return Setting(
        device=device or "cpu",
        epochs=10,
        images=1_000,
        test_images=1_000,
    )


def pixels(setting: Setting, split: str) -> Samples:
    """The images of ``train`` or ``test``, decoded once."""
    from distill.data.pixels import square
    from distill.data.samples import Samples
    from selection.kinds.image import IMAGE
    from selection.sources.parquet import read_split

    file = setting.home / f"{split}.npz"
    count = setting.images if split == "train" else setting.test_images
    if not file.exists():
        paths = sorted(setting.data.glob(f"{split}*.parquet"))
        if not paths:
            raise UserError(
                f"no {split}*.parquet in {setting.data}: give the folder of CIFAR-100 by --data, or"
                " $TEACHER_ZOO_SHARED"
            )
        whole = read_split(paths, IMAGE)
        kept = _in_turn(whole.labels)[:count]
        decoded = np.stack([square(whole.sample(int(row)), 32) for row in kept])
        with replacing(file) as partial, partial.open("wb") as out:
            np.savez(out, images=decoded, labels=whole.labels[kept])
    with np.load(file) as stored:
        images, labels = stored["images"], stored["labels"]
    if len(images) != count:
        raise UserError(
            f"{file} holds {len(images)} images, {count} were asked for: give another --folder"
        )
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    return Samples(
        inputs=images,
        labels=labels,
        usable=np.arange(len(images)),
        digest=digest,
    )


def _in_turn(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows ordered so that any beginning holds the classes about equally often: the first of each
    class, the second, ...
    """
    import pandas as pd

    place = pd.Series(labels).groupby(labels).cumcount().to_numpy()  # of each within its class
    return np.argsort(place, kind="stable")


def pack(data: Path, folder: Path, *, parts: int = 3) -> None:
    """Write the training split in ``parts`` files and the test split in one, encoded as they
    are.
    """
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", parts), ("test", 1)):
        table = pq.read_table(data / f"{split}.parquet")
        size = -(-len(table) // count)
        for i in range(count):
            file = folder / (f"{split}-{i}.parquet" if count > 1 else f"{split}.parquet")
            pq.write_table(table.slice(i * size, size), file)
            print(f"{file}: {file.stat().st_size / 2**20:.0f} MiB")
