"""The CIFAR-100 protocol of the distillation papers, run by this project's own loop, with the
published figures.

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

    python -m benchmarks.students.cifar100 --pack DIR    # train-0.parquet ..., test.parquet
    python -m benchmarks.students.cifar100 --data DIR    # reads them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from benchmarks.record import BenchRecord, append
from benchmarks.students.cifar_setting import EPOCHS, Setting, default, pack, pixels
from zoo.terminal.command import run as run_command
from zoo.terminal.options import command_of

if TYPE_CHECKING:
    import torch

    from distill.data.batch import TeacherOutputs
    from distill.methods.recipe import Recipe
    from distill.run import RunFolder
    from distill.student.image_student import ImageStudent

CLASSES = tuple(str(i) for i in range(100))
TEACHER, STUDENT = "resnet32x4", "resnet8x4"
PUBLISHED = {"teacher": 79.42, "plain": 72.50, "kd": 73.33, "dkd": 76.32, "kd_ls": 76.62}
DKD = {
    "loss": "dkd",
    "temperature": "4",
    "task": "1",
    "weight": "1",
    "target": "1",
    "others": "8",
    "warmup": str(20 / EPOCHS),
}
# name -> method and its settings: the weights of the papers' code
RECIPES: dict[str, tuple[str, dict[str, str]]] = {
    "plain": ("plain", {}),
    "kd": ("kd", {"temperature": "4", "task": "0.1", "weight": "0.9"}),
    "dkd": ("kd", DKD),
    "kd_ls": ("kd", {"loss": "standardised", "temperature": "2", "task": "0.1", "weight": "9"}),
}
BATCH = 64


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
    records = []
    for name in ("teacher", *RECIPES):
        records += _records(setting, name, [run for cell, run in runs.items() if cell[0] == name])
    return records


def _job(setting: Setting, cell: tuple[str, int]) -> RunFolder:
    import torch

    torch.set_num_threads(1)
    return train(setting, *cell)


def train(setting: Setting, name: str, seed: int) -> RunFolder:
    """The finished run of ``teacher`` or a recipe; goes on where it was stopped."""
    import torch

    from distill.run import RunFolder
    from distill.student.image_student import export
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
    student = _student(
        setting,
        TEACHER if name == "teacher" else STUDENT,
        seed,
        accelerator.device,
    )
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
        on_epoch=lambda line: _print_epoch(name, seed, line),
    )
    if name == "teacher":
        export(student, run.student)
    test = pixels(setting, "test")
    hits = student.logits(torch.from_numpy(test.inputs)).argmax(1).numpy() == test.labels
    run.finish(
        {"hits": hits.tolist()},
        f"# {name}, seed {seed}\n\n{100 * np.mean(hits):.2f} % of {len(hits)} test images.\n",
    )
    return run


def _student(
    setting: Setting,
    architecture: str,
    seed: int,
    device: torch.device,
) -> ImageStudent:
    """An untrained network on ``device``, with CUDA graphs if the setting allows."""
    import torch

    from benchmarks.students.cifar_resnet import run_as_graphs
    from distill.student.image_student import ImageSpec, ImageStudent

    student = ImageStudent.create(ImageSpec(architecture=architecture, size=32), CLASSES, seed=seed)
    network: Any = student.to(device).network.to(memory_format=torch.channels_last)
    torch.backends.cudnn.benchmark = True
    if setting.graphs and device.type == "cuda" and setting.precision == "fp32":
        run_as_graphs(
            network,
            torch.rand(
                BATCH,
                3,
                32,
                32,
                device=device,
            ),
        )
    return student


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
    from distill.data.views import ImageAugmentation

    return ImageAugmentation(crop="shift", flip=True, colour=0.0)


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


def _recipe(
    method: str,
    settings: Mapping[str, str],
    student: ImageStudent,
    seed: int,
) -> Recipe:
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


def _records(setting: Setting, name: str, runs: Sequence[RunFolder]) -> list[BenchRecord]:
    from selection.scores.interval import around, resampled_means

    hits = np.stack([run.results()["hits"] for run in runs]).astype(float)  # (seeds, test images)
    accuracy = around(float(hits.mean()), resampled_means(hits)).times(100)
    lines = [line for run in runs for line in run.metrics()]
    speed = float(np.median([line["samples_a_second"] for line in lines]))
    minutes = sum(line["seconds"] for line in lines) / 60 / len(runs)
    common: dict[str, Any] = {
        "setting": _described(setting, name),
        "seeds": tuple(range(len(runs))),
    }
    part = "" if setting.whole else f", {setting.part}: not the published protocol"
    print(
        f"{name}: {accuracy.value:.2f} % ({accuracy.low:.2f} to {accuracy.high:.2f}),"
        f" published {PUBLISHED[name]:.2f};"
        f" {speed:.0f} images/s, {minutes:.1f} minutes{part}",
        flush=True,
    )
    return [
        BenchRecord(
            name=f"cifar100.{name}",
            value=accuracy.value,
            low=accuracy.low,
            high=accuracy.high,
            unit=f"% top-1, last epoch{part}",
            spread="95 % bootstrap over seeds and test images",
            **common,
        ),
        BenchRecord(
            name=f"cifar100.{name}.images_a_second",
            value=speed,
            unit="images/s, median epoch",
            **common,
        ),
        BenchRecord(
            name=f"cifar100.{name}.minutes",
            value=minutes,
            unit=f"minutes of training{part}",
            **common,
        ),
    ]


def _described(setting: Setting, name: str) -> dict[str, object]:
    """What a record says of how its figure was made."""
    return {
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


def _device(setting: Setting) -> str:
    import torch

    return torch.cuda.get_device_name() if setting.device.startswith("cuda") else setting.device


def _print_epoch(name: str, seed: int, line: Mapping[str, Any]) -> None:
    if (line["epoch"] + 1) % 10 == 0:
        print(
            f"{name} seed {seed} epoch {line['epoch'] + 1}: loss {line['loss']:.3f}, "
            f"train {100 * line['train_accuracy']:.1f} %, {line['samples_a_second']:.0f} images/s",
            flush=True,
        )


def _announce(setting: Setting) -> None:
    import benchmarks.students.cifar_resnet  # noqa: F401 - timm must know the networks
    from benchmarks.speed.distill_step import flops

    epochs_of_images = setting.epochs * setting.images
    teacher, student = (flops(name, size=32) * epochs_of_images for name in (TEACHER, STUDENT))
    # A step of training takes three forward passes; the teacher runs once more for its outputs.
    total = 3 * teacher + teacher + 3 * student * len(RECIPES) * setting.seeds
    extent = "the whole protocol" if setting.whole else "a part of the protocol"
    print(
        f"{extent}: {setting.part}, {total / 1e15:.2f} PFLOP in all; kept in {setting.home}",
        flush=True,
    )


@dataclass(frozen=True, kw_only=True)
class CifarOptions:
    """The options of ``benchmarks.students.cifar100``; None: as ``default`` has it."""

    epochs: Annotated[int | None, typer.Option(min=1, help="passes over the images")] = None
    images: Annotated[int | None, typer.Option(min=64, help="training images")] = None
    test_images: Annotated[int | None, typer.Option(min=1, help="test images")] = None
    seeds: Annotated[int, typer.Option(min=1, help="students of each method")] = 1
    jobs: Annotated[int | None, typer.Option(min=1, help="students trained at once")] = None
    device: Annotated[str | None, typer.Option(help="cpu or cuda")] = None
    precision: Annotated[str, typer.Option(help="fp32 (TF32 convolutions on a GPU) or bf16")] = (
        "fp32"
    )
    graphs: Annotated[bool, typer.Option(help="CUDA graphs")] = True
    data: Annotated[
        Path | None, typer.Option(help="folder of train*.parquet and test*.parquet")
    ] = None
    folder: Annotated[Path | None, typer.Option(help="keeps images, outputs and runs")] = None
    out: Annotated[Path | None, typer.Option(help="add the records to this file")] = None
    pack: Annotated[
        Path | None, typer.Option(help="only write the data in parts into this folder")
    ] = None

    def setting(self) -> Setting:
        """The default of the machine, changed as the options say."""
        names = {field.name for field in fields(Setting)}
        given = {
            name: value for name, value in vars(self).items() if name in names and value is not None
        }
        return replace(default(self.device), **given)


def run_protocol(options: CifarOptions) -> None:
    """The CIFAR-100 protocol or a part of it; defaults: all of it on a GPU, 10 epochs of 1,000
    images on a CPU.
    """
    setting = options.setting()
    if options.pack is not None:
        pack(setting.data, options.pack)
        return
    records = measure(setting)
    if options.out is not None:
        append(options.out, records)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    command = command_of(CifarOptions, run_protocol)
    return run_command(command, argv, name="benchmarks.students.cifar100")


if __name__ == "__main__":
    raise SystemExit(main())
