"""What networks cost: parameters, the size of their file, multiply-adds, and measured time."""

from __future__ import annotations

import platform
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.errors import TeacherError
from zoo.terminal.command import printable
from zoo.terminal.table import Column, short_count, table_text

if TYPE_CHECKING:
    from zoo.card import ModelCard

BATCH = 32  # samples of the larger batch that is timed
LINE = 80  # characters of a note where the terminal's width is not known
SECONDS = 10.0  # that are spent on timing one network, loading it aside
_MOST_REPEATS = 50
_SINGLE_SHARE = 0.3  # of ``SECONDS`` goes to single samples

Forward = Callable[[Tensor], object]
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The time of one forward pass of so many ``samples``, in milliseconds.

    ``median``, ``low`` and ``high`` are the quartiles of ``repeats`` passes after a first one that
    does not count; of a network so slow that one pass is all there is time for, that one.
    """

    samples: int
    median: float
    low: float
    high: float
    repeats: int


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """What one network costs; ``None`` where it is not known, with the ``reason``.

    parameters     how many numbers were learned
    megabytes      of its safetensors file, in units of 10**6 bytes
    multiply_adds  of one sample in matrix products and convolutions
    size           height and width of its input in pixels, or the tokens of a text
    single, batch  the time of one sample, and of ``BATCH``
    """

    model: str
    parameters: int | None = None
    megabytes: float | None = None
    multiply_adds: int | None = None
    size: tuple[int, ...] | None = None
    single: Latency | None = None
    batch: Latency | None = None
    reason: str | None = None


def measured(
    model: str,
    network: nn.Module,
    forward: Forward,
    sample: Tensor,
    *,
    files: Sequence[Path],
    clock: Clock = time.perf_counter,
) -> NetworkCost:
    """What ``network`` costs; ``forward`` runs it on a batch like ``sample``, (1, ...) on its
    device, which is repeated for the larger batch.
    """
    timed = _synchronised(forward, sample.device)
    single = latency(
        timed,
        sample,
        seconds=SECONDS * _SINGLE_SHARE,
        clock=clock,
    )
    batch, seconds = None, SECONDS * (1 - _SINGLE_SHARE)
    if BATCH * single.median / 1000 <= seconds:
        batch = latency(
            timed,
            sample.repeat(BATCH, *[1] * (sample.ndim - 1)),
            seconds=seconds,
            clock=clock,
        )
    return NetworkCost(
        model=model,
        parameters=sum(p.numel() for p in network.parameters()),
        megabytes=sum(file.stat().st_size for file in files) / 1e6,
        multiply_adds=multiply_adds(forward, sample),
        size=tuple(sample.shape[2:]),
        single=single,
        batch=batch,
    )


def multiply_adds(forward: Forward, sample: Tensor) -> int:
    """The multiply-adds of ``forward(sample)`` in convolutions, matrix products and attention.

    One multiply-add is one multiplication and one addition, which torch counts as two operations.
    Additions of biases, normalisation and activations are not counted, as is usual.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # fused attention is not counted on every device; its plain form is, and is the same arithmetic
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        forward(sample)
    return int(counter.get_total_flops()) // 2


def latency(
    forward: Forward,
    batch: Tensor,
    *,
    seconds: float,
    clock: Clock = time.perf_counter,
) -> Latency:
    """The time of ``forward(batch)``, repeated for about ``seconds`` and at most 50 times."""
    began = clock()
    forward(batch)
    last = first = clock() - began
    times: list[float] = []
    while len(times) < _MOST_REPEATS and clock() - began + last <= seconds:
        start = clock()
        forward(batch)
        last = clock() - start
        times.append(last)
    times = [1000 * t for t in times or [first]]
    low, median, high = quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return Latency(
        samples=len(batch),
        median=median,
        low=low,
        high=high,
        repeats=len(times),
    )


def _synchronised(forward: Forward, device: torch.device) -> Forward:
    """``forward`` without gradients, which returns when the device has done its work."""

    def run(batch: Tensor) -> None:
        with torch.no_grad():
            forward(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()

    return run


def student_cost(folder: Path, *, device: str) -> NetworkCost:
    """What the exported student in ``folder`` costs on ``device``."""
    from distill.kinds.registry import kind_of_export

    student = kind_of_export(folder).reopen(folder)
    network = student.network.to(device)
    return measured(
        student.name,
        network,
        network,
        student.example.to(device),
        files=[folder / "model.safetensors"],
    )


def teacher_cost(card: ModelCard, *, device: str, largest: int | None = None) -> NetworkCost:
    """What a teacher costs on ``device``, at most ``largest`` pixels, if its weights are here.

    Nothing is downloaded for it: else the ``reason`` says why it was not measured.
    """
    from zoo.loading.download import fetch, is_local
    from zoo.loading.weights import weight_files
    from zoo.teacher import Teacher

    if card.is_recommender:
        return NetworkCost(model=card.id, reason="it answers without a network")
    if not is_local(card):
        return NetworkCost(model=card.id, reason="its weights are not on this machine")
    try:
        teacher = Teacher.load(
            card,
            device=device,
            offline=True,
            largest=largest,
        )
        return measured(
            card.id,
            teacher.module,
            teacher.forward,
            teacher.normalise(teacher.inputs.example(1)),
            files=weight_files(fetch(card, offline=True)),
        )
    except (TeacherError, RuntimeError, MemoryError, OSError) as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        return NetworkCost(model=card.id, reason=text[0][:200])


def measure_costs(
    student: Path,
    teachers: Sequence[ModelCard],
    *,
    device: str,
    largest: int | None = None,
) -> dict[str, Any]:
    """The entry ``cost`` of ``results.json``: the exported ``student`` and its teachers."""
    from distill.kinds.registry import kind_of_export

    costs = [teacher_cost(card, device=device, largest=largest) for card in teachers]
    return {
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "noun": kind_of_export(student).noun,
        "student": asdict(student_cost(student, device=device)),
        "teachers": [asdict(cost) for cost in costs],
    }


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device} ({platform.machine()})"


def cost_heads(cost: Mapping[str, Any]) -> tuple[str, ...]:
    """The heads of the table of the entry ``cost`` of ``results.json``."""
    noun = cost.get("noun", "image")  # the only kind of earlier versions
    return ("network", "params", "MB", "multiply-adds", f"1 {noun}, ms", f"{BATCH} {noun}s, ms")


def cost_rows(cost: Mapping[str, Any]) -> list[list[str]]:
    """The cells under ``cost_heads`` of the same entry, the student first."""
    rows = [_cells("the student", cost["student"])]
    return rows + [_cells(entry["model"], entry) for entry in cost["teachers"]]


def _cells(name: str, entry: Mapping[str, Any]) -> list[str]:
    megabytes = entry["megabytes"]
    return [
        printable(name, 80),
        short_count(entry["parameters"]),
        "-" if megabytes is None else _three_digits(megabytes),
        short_count(entry["multiply_adds"]),
        _milliseconds(entry["single"]),
        _milliseconds(entry["batch"]),
    ]


def _milliseconds(latency: Mapping[str, Any] | None) -> str:
    return "-" if latency is None else _three_digits(latency["median"])


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cost_notes(cost: Mapping[str, Any]) -> list[str]:
    """How the figures were measured, and why some are missing, as sentences."""
    threads, noun = cost["threads"], cost.get("noun", "image")
    sentences = [
        f"Median time of a forward pass on {printable(cost['device'], 60)},"
        f" {threads} thread{'s' if threads > 1 else ''}, after a first pass; {noun}s prepared"
        " already.",
        *_spread(cost),
        "A multiply-add is one multiplication and one addition, in convolutions, matrix products"
        f" and attention, of one {noun}.",
    ]
    for entry in (cost["student"], *cost["teachers"]):
        name = printable(entry["model"], 80)
        if entry["reason"]:
            sentences.append(f"{name} was not measured: {printable(entry['reason'], 200)}.")
        elif entry["batch"] is None:
            sentences.append(f"{name} is too slow to time {BATCH} {noun}s in {SECONDS:.0f} s.")
    return sentences


def _spread(cost: Mapping[str, Any]) -> list[str]:
    """The quartiles of the student's single samples, and how much faster it is than a teacher."""
    single = cost["student"]["single"]
    if single is None:
        return []
    sentence = (
        f"Half of the student's {single['repeats']} single passes took"
        f" {_three_digits(single['low'])} to {_three_digits(single['high'])} ms."
    )
    times = [entry["single"]["median"] for entry in cost["teachers"] if entry["single"]]
    if times and max(times) > single["median"] > 0:
        ratio = max(times) / single["median"]
        sentence += f" The slowest teacher takes {_three_digits(ratio)} times as long."
    return [sentence]


def cost_lines(cost: Mapping[str, Any], *, width: int | None = None) -> list[str]:
    """The table and its notes for a terminal of ``width`` characters."""
    name, *numbers = cost_heads(cost)
    columns = [Column(name, is_name=True)]
    columns += [Column(head, is_number=True) for head in numbers]
    notes = textwrap.wrap(" ".join(cost_notes(cost)), width or LINE)
    return [table_text(columns, cost_rows(cost), width=width), *notes]
