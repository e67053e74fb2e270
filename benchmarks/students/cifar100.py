"""The CIFAR-100 protocol of the distillation papers, run by this project's own loop, beside the
published column.

A ResNet32x4 is trained here and teaches ResNet8x4: plain, kd, dkd and kd with logit
standardisation. 240 epochs of 50,000 images in batches of 64, SGD with momentum 0.9 (no Nesterov)
and weight decay 5e-4 on every parameter, rate 0.05 falling by 10 after epochs 150, 180 and 210,
shift and flip, loss weights as in the papers' code; the last epoch is read on the whole test split,
once. The teacher answers a view of its own for each image and epoch, stored once (2.4 GB for 240
epochs) and shared by all students. Ours and not the papers': shifts reflect the border instead of
padding it with zeros, pixels are normalised by ImageNet's figures, and the students of all seeds
see the same views of an image (in another order).

On one GPU, whole, resumable at any moment by the same command (a new machine needs the --folder of
the old one):

    python -m benchmarks.run cifar100
    python -m benchmarks.students.cifar100 --seeds 3 --jobs 4 --folder DIR --out DIR/cifar100.jsonl

One forward pass takes 2.17 GFLOP (ResNet32x4) and 0.35 (ResNet8x4), so with one seed the whole
protocol is 78 PFLOP for the teacher, 26 for its answers and 13 a student: for a CPU core at 85
GFLOP/s, as measured here, 21 days. So on a CPU the default is 10 epochs of 1,000 images, half an
hour of one core: it shows that all of it runs, and nothing about the methods.

An air-gapped machine gets the data in parts that each fit into what may travel (33 MB at most), and
needs neither faiss, POT, duckdb nor datasets. The CUDA graphs (--no-graphs leaves them out) have
not been tried on a GPU yet:

    python -m benchmarks.students.cifar100 --pack DIR        # train-0.parquet ... train-2.parquet, test.parquet
    python -m benchmarks.students.cifar100 --data DIR        # reads them
"""  # noqa: E501

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from benchmarks.record import BenchRecord, append
from benchmarks.shared import shared
from zoo.errors import UserError
from zoo.files import replacing
from zoo.home import home
from zoo.terminal.command import run as command

if TYPE_CHECKING:
    from distill.batch import TeacherOutputs
    from distill.data.pixels import Pixels
    from distill.methods.recipe import Recipe
    from distill.run import RunFolder
    from distill.student.student import Student

CLASSES = tuple(str(i) for i in range(100))
TEACHER, STUDENT = "resnet32x4", "resnet8x4"
PUBLISHED = {"teacher": 79.42, "plain": 72.50, "kd": 73.33, "dkd": 76.32, "kd_ls": 76.62}
RECIPES: dict[str, tuple[str, dict[str, str]]] = {  # the weights of the papers' code
    "plain": ("plain", {}),
    "kd": ("kd", {"temperature": "4", "task": "0.1", "weight": "0.9"}),
    "dkd": (
        "kd",
        {
            "loss": "dkd",
            "temperature": "4",
            "task": "1",
            "weight": "1",
            "target": "1",
            "others": "8",
            "warmup": str(20 / 240),
        },
    ),
    "kd_ls": ("kd", {"loss": "standardised", "temperature": "2", "task": "0.1", "weight": "9"}),
}
TRAIN, TEST, EPOCHS, BATCH = 50_000, 10_000, 240, 64


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
    data: Path = field(default_factory=lambda: shared() / "datasets" / "cifar100")
    folder: Path = field(default_factory=lambda: home() / "benchmarks" / "cifar100")

    @property
    def whole(self) -> bool:
        """Whether this is the published protocol, and not a part of it."""
        return (self.epochs, self.images, self.test_images) == (EPOCHS, TRAIN, TEST)

    @property
    def home(self) -> Path:
        """Where the images, outputs and runs of this setting lie."""
        return (
            self.folder
            / f"{self.images}x{self.epochs}-{self.device.partition(':')[0]}-{self.precision}"
        )


def default() -> Setting:
    """The whole protocol where there is a GPU, otherwise a part of it."""
    import torch

    if torch.cuda.is_available():
        return Setting(device="cuda", jobs=4)
    return Setting(device="cpu", epochs=10, images=1_000, test_images=1_000)


def run(out: Path) -> list[BenchRecord]:
    """``measure`` at the machine's default."""
    return measure(default())


def measure(setting: Setting) -> list[BenchRecord]:
    """Train what is missing of teacher and students, and set their figures beside the published
    ones.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    _announce(setting)
    runs = {("teacher", 0): train(setting, "teacher", 0)}
    cells = [(name, seed) for seed in range(setting.seeds) for name in RECIPES]
    if setting.jobs == 1:
        done = [train(setting, *cell) for cell in cells]
    else:
        outputs(setting)  # once, before many ask for them
        with ProcessPoolExecutor(setting.jobs, mp_context=get_context("spawn")) as pool:
            done = list(pool.map(partial(_job, setting), cells))
    runs |= dict(zip(cells, done, strict=True))
    found = []
    for name in ("teacher", *RECIPES):
        found += _records(setting, name, [run for cell, run in runs.items() if cell[0] == name])
    return found


def _job(setting: Setting, cell: tuple[str, int]) -> RunFolder:
    import torch

    torch.set_num_threads(1)
    return train(setting, *cell)


def train(setting: Setting, name: str, seed: int) -> RunFolder:
    """The finished run of ``teacher`` or a recipe; goes on where it was stopped."""
    import torch

    from benchmarks.students.cifar_resnet import graphed
    from distill.run import RunFolder
    from distill.student.student import Student, StudentSpec, export
    from distill.training.loop import TrainingSetup, fit
    from distill.training.processes import open_accelerator

    free = ("jobs", "seeds", "data", "folder", "graphs")  # these do not change a run's result
    given = {name: str(value) for name, value in asdict(setting).items() if name not in free}
    accelerator = open_accelerator(setting.device)
    run = RunFolder.create(
        setting.home / f"{name}-{seed}", {"name": name, "seed": seed, **given}, resume=True
    )
    if run.finished:
        return run
    student = Student.create(
        StudentSpec(architecture=TEACHER if name == "teacher" else STUDENT, size=32),
        CLASSES,
        seed=seed,
    )
    network: Any = student.to(accelerator.device).network.to(memory_format=torch.channels_last)
    torch.backends.cudnn.benchmark = True
    if setting.graphs and accelerator.device.type == "cuda" and setting.precision == "fp32":
        sample = torch.rand(BATCH, 3, 32, 32, device=accelerator.device)
        graphed(network, sample)
    method, settings = RECIPES.get(name, ("plain", {}))
    table = outputs(setting) if method != "plain" else None
    setup = TrainingSetup(
        student=student,
        recipe=_recipe(method, settings, student, seed),
        batches=_batches(setting, seed, table),
        seed=seed,
        precision=setting.precision,
    )
    fit(
        setup,
        _schedule(setting),
        run=run,
        accelerator=accelerator,
        on_epoch=lambda line: _say(name, seed, line),
    )
    if name == "teacher":
        export(student, run.student)
    test = pixels(setting, "test")
    hits = (student.logits(torch.from_numpy(test.images)).argmax(1).numpy() == test.labels).tolist()
    run.finish(
        {"hits": hits},
        f"# {name}, seed {seed}\n\n{100 * np.mean(hits):.2f} % of {len(hits)} test images.\n",
    )
    return run


def _schedule(setting: Setting) -> Any:
    from distill.training.loop import Schedule

    return Schedule(
        epochs=setting.epochs,
        batch_size=BATCH,
        optimizer="momentum",
        rate=0.05,
        weight_decay=5e-4,
        warmup=0.0,
        milestones=tuple(epoch / EPOCHS for epoch in (150, 180, 210)),
    )


def _augmentation() -> Any:
    from distill.data.views import Augmentation

    return Augmentation(crop="shift", flip=True, colour=0.0)


def _batches(setting: Setting, seed: int, table: TeacherOutputs | None) -> Any:
    from distill.data.batches import Batches, BatchSettings

    settings = BatchSettings(
        batch_size=BATCH,
        size=32,
        augmentation=_augmentation(),
        seed=seed,
        views=setting.epochs,
    )
    return Batches.build(
        pixels(setting, "train"),
        settings,
        teachers=() if table is None else (table,),
        device=setting.device,
    )


def _recipe(method: str, settings: Mapping[str, str], student: Student, seed: int) -> Recipe:
    from distill.methods.recipe import Context
    from distill.methods.registry import build
    from distill.teachers.info import TeacherInfo
    from zoo.card import ModelCard

    teacher = TeacherInfo(
        card=ModelCard(id=TEACHER, source="folder"),
        feature_dim=256,
        columns=tuple(range(len(CLASSES))),
        weight=1.0,
    )
    context = Context(
        classes=CLASSES,
        feature_dim=student.feature_dim,
        hidden_shape=student.hidden_shape,
        low_shape=student.low_shape,
        teachers=() if method == "plain" else (teacher,),
        seed=seed,
    )
    return build(method, context, settings)


def outputs(setting: Setting) -> TeacherOutputs:
    """The trained teacher's logits on every image in every epoch's view, (epochs, images, 100)."""
    import benchmarks.students.cifar_resnet  # noqa: F401 - timm must know the network
    from distill.teachers.outputs import LOGITS, RenderedViews, teacher_outputs
    from selection.probing.store import StoreKey, TeacherStore
    from zoo.sources import folder
    from zoo.teacher import Teacher

    card = folder.card(setting.home / "teacher-0" / "student", model=TEACHER)
    return teacher_outputs(
        TeacherStore(setting.home / "outputs"),
        StoreKey.of(card, device=setting.device, content=LOGITS),
        pixels(setting, "train"),
        cache(lambda: Teacher.load(card, device=setting.device)),
        views=RenderedViews(augmentation=_augmentation(), seed=0, count=setting.epochs),
    )


def pixels(setting: Setting, split: str) -> Pixels:
    """The images of ``train`` or ``test``, decoded once."""
    from distill.data.pixels import Pixels, square
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
        whole = read_split(paths)
        kept = _in_turn(whole.labels)[:count]
        decoded = np.stack([square(whole.image(int(row)), 32) for row in kept])
        with replacing(file) as partial_file, partial_file.open("wb") as out:
            np.savez(out, images=decoded, labels=whole.labels[kept])
    with np.load(file) as stored:
        images, labels = stored["images"], stored["labels"]
    if len(images) != count:
        raise UserError(
            f"{file} holds {len(images)} images, {count} were asked for: give another --folder"
        )
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    return Pixels(images=images, labels=labels, usable=np.arange(len(images)), digest=digest)


def _in_turn(
    labels: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rows ordered so that any beginning holds the classes about equally often: the first of each
    class, the second, ...
    """
    place = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        place[mine] = np.arange(len(mine))
    return np.argsort(place, kind="stable")


def _records(setting: Setting, name: str, runs: Sequence[RunFolder]) -> list[BenchRecord]:
    from selection.scores.interval import around, resampled_means

    hits = np.stack([run.results()["hits"] for run in runs]).astype(float)  # (seeds, test images)
    accuracy = around(float(hits.mean()), resampled_means(hits)).times(100)
    lines = [line for run in runs for line in run.metrics()]
    speed = float(np.median([line["images_a_second"] for line in lines]))
    minutes = sum(line["seconds"] for line in lines) / 60 / len(runs)
    label: dict[str, object] = {
        "published": PUBLISHED[name],
        "whole_protocol": setting.whole,
        "epochs": setting.epochs,
        "train_images": setting.images,
        "test_images": setting.test_images,
        "network": TEACHER if name == "teacher" else STUDENT,
        "device": _device(setting),
        "precision": setting.precision,
        "jobs": 1 if name == "teacher" else setting.jobs,
        "settings": RECIPES.get(name, ("", {}))[1],
    }
    part = (
        ""
        if setting.whole
        else f", {setting.epochs} epochs of {setting.images} images: not the published protocol"
    )
    print(
        f"{name}: {accuracy.value:.2f} % ({accuracy.low:.2f} to {accuracy.high:.2f}),"
        f" published {PUBLISHED[name]:.2f};"
        f" {speed:.0f} images/s, {minutes:.1f} minutes{part}",
        flush=True,
    )
    seeds = tuple(range(len(runs)))
    return [
        BenchRecord(
            name=f"cifar100.{name}",
            value=accuracy.value,
            low=accuracy.low,
            high=accuracy.high,
            unit=f"% top-1, last epoch{part}",
            spread="95 % bootstrap over seeds and test images",
            setting=label,
            seeds=seeds,
        ),
        BenchRecord(
            name=f"cifar100.{name}.images_a_second",
            value=speed,
            unit="images/s, median epoch",
            setting=label,
            seeds=seeds,
        ),
        BenchRecord(
            name=f"cifar100.{name}.minutes",
            value=minutes,
            unit=f"minutes of training{part}",
            setting=label,
            seeds=seeds,
        ),
    ]


def _device(setting: Setting) -> str:
    import torch

    return torch.cuda.get_device_name() if setting.device.startswith("cuda") else setting.device


def _say(name: str, seed: int, line: Mapping[str, Any]) -> None:
    if (line["epoch"] + 1) % 10 == 0:
        print(
            f"{name} seed {seed} epoch {line['epoch'] + 1}: loss {line['loss']:.3f}, "
            f"train {100 * line['train_accuracy']:.1f} %, {line['images_a_second']:.0f} images/s",
            flush=True,
        )


def _announce(setting: Setting) -> None:
    import benchmarks.students.cifar_resnet  # noqa: F401 - timm must know the networks
    from benchmarks.speed.distill_step import flops

    teacher, student = (
        flops(name, size=32) * setting.epochs * setting.images for name in (TEACHER, STUDENT)
    )
    total = 3 * teacher + teacher + 3 * student * len(RECIPES) * setting.seeds
    print(
        f"{'the whole protocol' if setting.whole else 'a part of the protocol'}: {setting.epochs}"
        f" epochs of {setting.images} images, {total / 1e15:.2f} PFLOP in all; kept in"
        f" {setting.home}",
        flush=True,
    )


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


def main(argv: Sequence[str] | None = None) -> int:
    def one(
        epochs: Annotated[int | None, typer.Option(min=1)] = None,
        images: Annotated[int | None, typer.Option(min=64, help="training images")] = None,
        test_images: Annotated[int | None, typer.Option(min=1)] = None,
        seeds: Annotated[int, typer.Option(min=1)] = 1,
        jobs: Annotated[int | None, typer.Option(min=1, help="students trained at once")] = None,
        device: Annotated[str | None, typer.Option(help="cpu or cuda")] = None,
        precision: Annotated[
            str, typer.Option(help="fp32 (TF32 convolutions on a GPU) or bf16")
        ] = "fp32",
        graphs: Annotated[bool, typer.Option(help="CUDA graphs")] = True,
        data: Annotated[
            Path | None, typer.Option(help="folder of train*.parquet and test*.parquet")
        ] = None,
        folder: Annotated[Path | None, typer.Option(help="keeps images, outputs and runs")] = None,
        out: Annotated[Path | None, typer.Option(help="add the records to this file")] = None,
        pack_to: Annotated[
            Path | None,
            typer.Option("--pack", help="only write the data in parts into this folder"),
        ] = None,
    ) -> None:
        """The CIFAR-100 protocol or a part of it; defaults: all of it on a GPU, 10 epochs of 1,000
        images on a CPU.
        """
        base = default()
        if device is not None and device != base.device:
            base = Setting(
                device=device,
                epochs=base.epochs,
                images=base.images,
                test_images=base.test_images,
                jobs=base.jobs,
            )
        given = {
            "epochs": epochs,
            "images": images,
            "test_images": test_images,
            "seeds": seeds,
            "jobs": jobs,
            "precision": precision,
            "graphs": graphs,
            "data": data,
            "folder": folder,
        }
        setting = Setting(
            **{**vars(base), **{name: value for name, value in given.items() if value is not None}}
        )
        if pack_to is not None:
            pack(setting.data, pack_to)
            return
        records = measure(setting)
        if out is not None:
            append(out, records)

    return command(one, argv, name="benchmarks.students.cifar100")


if __name__ == "__main__":
    raise SystemExit(main())
