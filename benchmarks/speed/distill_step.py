"""The cost of a training step: stored outputs, an online teacher, plain training, timm's task."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import BenchRecord
from selection.scores.interval import around

CLASSES, IMAGES, TEACHER_CLASSES = 20, 1024, 1000
SETTINGS = {  # student, teacher, batch, rounds; both see 64 pixels
    "cpu": ("mobilenetv3_small_050", "mobilenetv2_100", 64, 15),
    "cuda": ("resnet18", "resnet50", 256, 60),
}


def run(out: Path) -> list[BenchRecord]:
    """Ratios of step times, measured in turn within each round, and images a second.

    A step is batch, forward, loss, backward, tally and optimizer. On a CPU with one thread the
    clock is the processor time of this process, so that a busy machine changes little; on a GPU it
    is the wall clock with the device drained. Memory is that of all tensors at their peak:
    networks, optimizer, stored outputs, and what a step needs.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device == "cpu" else threads)
    try:
        return _measure(device)
    finally:
        torch.set_num_threads(threads)


def _measure(device: str) -> list[BenchRecord]:
    student, teacher, batch, rounds = SETTINGS[device]
    variants = _variants(device)
    # before any step is kept: what else lives, or is freed, then does not count
    memory = {name: _peak(make) for name, make in variants.items()}
    steps = {}
    for name, make in variants.items():
        steps[name] = make()
        for _ in range(3):
            steps[name]()
    laps: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            laps[name].append(_lap(step, device))
    setting: dict[str, object] = {
        "student": student,
        "teacher": teacher,
        "batch": batch,
        "size": 64,
        "device": device,
        "rounds": rounds,
        "teacher_classes": TEACHER_CLASSES,
        "views": 2,
    }
    records = []
    for name in steps:
        speeds = [batch / lap for lap in laps[name]]
        records.append(_record(f"images_a_second.{name}", "images/s", speeds, setting))
        if name == "plain":
            continue
        ratios = _ratios(laps[name], laps["plain"])
        records.append(_record(f"over_plain.{name}", "ratio", ratios, setting))
        records.append(
            BenchRecord(
                name=f"distill_step.memory_over_plain.{name}",
                value=memory[name] / memory["plain"],
                unit="ratio",
                setting=setting | {"plain_bytes": memory["plain"]},
            )
        )
    # a backward pass costs two forward passes
    model = 1 + flops(teacher, size=64) / (3 * flops(student, size=64))
    over_model = [ratio / model for ratio in _ratios(laps["online"], laps["plain"])]
    records.append(
        _record("online_over_flop_model", "ratio", over_model, setting | {"flop_model": model})
    )
    over_timm = _ratios(laps["timm"], laps["online"])
    records.append(_record("online_speed_over_timm", "ratio", over_timm, setting))
    for record in records:
        spread = "" if record.low is None else f" ({record.low:.3f} to {record.high:.3f})"
        print(f"{record.name}: {record.value:.3f}{spread} {record.unit}", flush=True)
    return records


def _ratios(laps: list[float], others: list[float]) -> list[float]:
    return [lap / other for lap, other in zip(laps, others, strict=True)]


def _variants(device: str) -> dict[str, Callable[[], Callable[[], None]]]:
    return {
        "plain": lambda: _ours(device, stored=0),
        "stored_1": lambda: _ours(device, stored=1),
        "stored_3": lambda: _ours(device, stored=3),
        "online": lambda: _ours(device, stored=0, online=True),
        "timm": lambda: _timm(device),
    }


def _batches(device: str, stored: int) -> Any:
    import torch

    from distill.data.batch import TeacherOutputs
    from distill.data.batches import Batches, BatchSettings
    from distill.data.samples import Samples
    from distill.data.views import ImageAugmentation

    rng = np.random.default_rng(0)
    samples = Samples(
        inputs=rng.integers(
            0,
            256,
            (IMAGES, 3, 64, 64),
            dtype=np.uint8,
        ),
        labels=rng.integers(0, CLASSES, IMAGES),
        usable=np.arange(IMAGES),
        digest="noise",
    )
    tables = tuple(
        TeacherOutputs(probe_logits=torch.randn(2, IMAGES, CLASSES).half()) for _ in range(stored)
    )
    settings = BatchSettings(
        batch_size=SETTINGS[device][2],
        size=64,
        augmentation=ImageAugmentation(),
        seed=0,
        views=2,
    )
    return Batches.build(samples, settings, teachers=tables, device=device)


def _ours(device: str, *, stored: int, online: bool = False) -> Callable[[], None]:
    """One step of ``distill.training.loop``, its pieces in its order; ``online`` asks one teacher
    in the step.
    """
    import torch

    from distill.data.batch import TeacherOutputs
    from distill.methods.recipe import Context
    from distill.methods.registry import build
    from distill.student.image_student import ImageSpec, ImageStudent
    from distill.teachers.info import TeacherInfo
    from distill.training.loop import Learner, Schedule, make_optimizer
    from distill.training.processes import open_accelerator
    from distill.training.tally import Tally
    from zoo.card import ModelCard

    accelerator = open_accelerator(device)
    precision = "bf16" if device == "cuda" else "fp32"
    student = ImageStudent.create(
        ImageSpec(architecture=SETTINGS[device][0], size=64), _names(), seed=0
    )
    cards = [ModelCard(id=str(i), source="folder") for i in range(stored or online)]
    infos = tuple(TeacherInfo(card=card, feature_dim=8, weight=1 / len(cards)) for card in cards)
    context = Context(
        classes=_names(),
        feature_dim=student.feature_dim,
        hidden_shape=student.hidden_shape,
        low_shape=student.low_shape,
        teachers=infos,
    )
    recipe = build("probe_kd" if infos else "plain", context)
    learner = Learner(student, recipe, precision).train()
    model, optimizer = accelerator.prepare(
        learner, make_optimizer(learner, Schedule(epochs=1, rate=2e-3))
    )
    batches, number = _batches(device, stored), iter(range(10**9))
    network = _teacher(device) if online else None
    tally = Tally(accelerator.device)

    def step() -> None:
        batch = batches.at(next(number))
        if network is not None:
            with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                logits = network((batch.view - 0.5) / 0.25)[:, :CLASSES].float()
            outputs = TeacherOutputs(probe_logits=logits)
            batch = replace(batch, teacher_outputs=(outputs,))
        optimizer.zero_grad(set_to_none=True)
        with accelerator.accumulate(model):
            terms, hits = model(batch, 0.5)
            accelerator.backward(torch.stack(list(terms.values())).sum())
        tally.add(terms, hits)
        tally.check(0 if device == "cpu" else 1, every=50)
        optimizer.step()

    return step


def _timm(device: str) -> Callable[[], None]:
    """timm's LogitDistillationTask on the same networks, views and optimizer."""
    import timm
    import torch
    from timm.task import LogitDistillationTask

    from distill.training.loop import Schedule, make_optimizer

    student = timm.create_model(SETTINGS[device][0], num_classes=CLASSES).to(device)
    task = LogitDistillationTask(
        student,
        _teacher(device, classes=CLASSES),
        device=torch.device(device),
        verbose=False,
    ).train()
    optimizer = make_optimizer(student, Schedule(epochs=1, rate=2e-3))
    batches, number = _batches(device, 0), iter(range(10**9))

    def step() -> None:
        batch = batches.at(next(number))
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            outputs = task((batch.view - 0.5) / 0.25, batch.labels)
        outputs["loss"].backward()
        optimizer.step()

    return step


def _teacher(device: str, *, classes: int = TEACHER_CLASSES) -> Any:
    import timm

    return (
        timm.create_model(SETTINGS[device][1], num_classes=classes)
        .to(device)
        .eval()
        .requires_grad_(False)
    )


def _names() -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(CLASSES))


def flops(architecture: str, *, size: int) -> int:
    """Floating-point operations of one forward pass of one image of ``size`` pixels."""
    import timm
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        timm.create_model(architecture).eval()(
            torch.zeros(
                1,
                3,
                size,
                size,
            )
        )
    return int(counter.get_total_flops())


def _peak(make: Callable[[], Callable[[], None]], *, steps: int = 2) -> int:
    """Bytes of tensors at their peak, from making the networks to the end of ``steps`` steps, by
    torch's own count.
    """
    import gc

    import torch

    gc.collect()  # or what an earlier measurement left counts as freed by this one
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step = make()
        for _ in range(steps):
            step()
        return int(torch.cuda.max_memory_allocated()) - int(before)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        step = make()
        for _ in range(steps):
            step()
    events = profile.profiler.kineto_results.events()
    changes = [event for event in events if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    return int(np.cumsum([event.nbytes() for event in changes]).max())


def _lap(step: Callable[[], None], device: str) -> float:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    clock = time.perf_counter if device == "cuda" else time.process_time
    begin = clock()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - begin


def _record(
    name: str,
    unit: str,
    values: list[float],
    setting: dict[str, object],
) -> BenchRecord:
    rng = np.random.default_rng(0)
    medians = [float(np.median(rng.choice(values, len(values)))) for _ in range(1_000)]
    median = around(float(np.median(values)), medians)
    return BenchRecord(
        name=f"distill_step.{name}",
        value=median.value,
        unit=unit,
        low=median.low,
        high=median.high,
        spread="95 % bootstrap of the median over rounds",
        setting=setting,
    )
