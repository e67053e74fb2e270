"""A probe is even over the classes, repeatable, of readable training images only."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection.kinds.image import IMAGE
from selection.probe import Probe
from selection.sources.images import CorruptImage
from selection.sources.split import Rows, Split
from selection.task import Task
from zoo.errors import UserError


class Memory:
    """Images in memory: one gray pixel a row, telling its row; ``broken`` rows hold no image."""

    def __init__(self, count: int, broken: frozenset[int] = frozenset(), shade: int = 0) -> None:
        self.count, self.broken, self.shade = count, broken, shade
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.count

    def raw(self, row: int) -> bytes:
        self.asked.append(row)
        if row in self.broken:
            if row % 2:
                raise CorruptImage("gone")
            return b"broken"
        return b"P6 1 1 255\n" + bytes([row // 256, row % 256, self.shade])

    def name(self, row: int) -> str:
        return f"row {row}"

    def stamp(self, rows: Rows) -> list[bytes]:  # type: ignore[override]
        return []


def task_of(
    counts: list[int],
    *,
    broken: frozenset[int] = frozenset(),
    shade: int = 0,
    names: str = "abcdefgh",
) -> Task:
    labels = (
        np.random.default_rng(1)
        .permutation(np.repeat(np.arange(len(counts)), counts))
        .astype(np.int64)
    )
    source = Memory(len(labels) + 50, broken, shade)
    classes = tuple(names[: len(counts)])
    train = Split(source, np.arange(len(labels)), labels, classes, IMAGE)
    rest = Split(
        source,
        np.arange(len(labels), len(labels) + 50),
        np.zeros(50, dtype=np.int64),
        classes,
        IMAGE,
    )
    return Task("t", classes, train, rest, rest)


def rows(probe: Probe) -> list[int]:
    return [
        red * 256 + green for red, green, _ in (image.getpixel((0, 0)) for image in probe.samples)
    ]  # type: ignore[misc]


def even(counts: list[int], size: int) -> list[int]:
    """The slow way: hand out one at a time to the class that has least and can take more."""
    given_out = [0] * len(counts)
    for _ in range(min(size, sum(counts))):
        open_classes = [c for c in range(len(counts)) if given_out[c] < counts[c]]
        given_out[min(open_classes, key=lambda c: given_out[c])] += 1
    return given_out


counts_of_classes = st.lists(st.integers(2, 30), min_size=2, max_size=6)


@pytest.mark.journey
@settings(deadline=None, max_examples=40)
@given(counts=counts_of_classes, size=st.integers(12, 150), seed=st.integers(0, 99))
def test_laws_of_drawing(counts: list[int], size: int, seed: int) -> None:
    task = task_of(counts)
    probe = Probe.draw(task, size=size, seed=seed)
    drawn = rows(probe)
    assert (
        len(drawn) == len(set(drawn)) == len(probe.labels) == probe.size == min(size, sum(counts))
    )
    assert probe.labels.tolist() == task.train.labels[drawn].tolist() and probe.names == [
        f"row {row}" for row in drawn
    ]
    assert sorted(np.bincount(probe.labels)) == sorted(even(counts, size))
    assert max(task.train.source.asked) < sum(counts)  # type: ignore[attr-defined]  # validation and test were left alone
    assert Probe.draw(task_of(counts), size=size, seed=seed).digest == probe.digest


@settings(deadline=None, max_examples=40)
@given(
    counts=counts_of_classes,
    sizes=st.tuples(st.integers(12, 100), st.integers(12, 100)),
    data=st.data(),
)
def test_a_smaller_probe_is_the_beginning_of_a_larger(
    counts: list[int], sizes: tuple[int, int], data: st.DataObject
) -> None:
    broken = data.draw(st.frozensets(st.integers(0, sum(counts) - 1), max_size=5))
    labels = task_of(counts).train.labels
    if any(
        sum(labels[row] == c and row not in broken for row in range(len(labels))) < 2
        for c in range(len(counts))
    ):
        return
    small, large = (
        rows(Probe.draw(task_of(counts, broken=broken), size=size)) for size in sorted(sizes)
    )
    assert large[: len(small)] == small


def test_another_seed_draws_others() -> None:
    task = task_of([50, 50])
    assert set(rows(Probe.draw(task, size=20, seed=1))) != set(
        rows(Probe.draw(task, size=20, seed=2))
    )


def test_unreadable_images_are_replaced_and_counted() -> None:
    counts = [20, 20, 20]
    whole = Probe.draw(task_of(counts), size=30)
    broken = frozenset(rows(whole)[:7])
    probe = Probe.draw(task_of(counts, broken=broken), size=30)
    assert (
        probe.skipped >= 7
        and probe.size == 30
        and np.bincount(probe.labels).tolist() == [10, 10, 10]
    )
    assert not broken & set(rows(probe)) and set(rows(whole)) - broken <= set(rows(probe))


def test_a_class_without_two_readable_images_is_left_out() -> None:
    task = task_of([10, 10, 3])
    of_c = np.flatnonzero(task.train.labels == 2)
    probe = Probe.draw(task_of([10, 10, 3], broken=frozenset(of_c[:2].tolist())), size=12)
    assert sorted(set(probe.labels.tolist())) == [0, 1] and probe.size == 12
    assert probe.warnings == [
        "class 'c' has 1 readable training images and is left out of the probe"
    ]


def test_no_readable_images() -> None:
    with pytest.raises(
        UserError,
        match=r"20 of 20 training images could not be read; \d+ (gone|no image format|a text)",
    ):
        Probe.draw(task_of([10, 10], broken=frozenset(range(20))), size=10)


def test_a_probe_below_two_a_class() -> None:
    with pytest.raises(
        UserError, match=r"probe of 5 images for 3 classes; at least 6 .*--probe-size 6"
    ):
        Probe.draw(task_of([9, 9, 9]), size=5)


def test_digest_covers_pixels_labels_and_names() -> None:
    digests = [
        Probe.draw(task, size=20).digest
        for task in (
            task_of([20, 20]),
            task_of([20, 20], shade=1),
            task_of([20, 20], names="xy"),
            task_of([21, 19]),
        )
    ]
    assert len(set(digests)) == 4
    swapped = task_of([20, 20])
    swapped.train = Split(
        swapped.train.source,
        swapped.train.rows,
        1 - swapped.train.labels,
        swapped.train.classes,
        IMAGE,
    )
    assert Probe.draw(swapped, size=40).digest != Probe.draw(task_of([20, 20]), size=40).digest


def test_digest_is_the_documented_sha256() -> None:
    task = task_of([4, 4])
    probe = Probe.draw(task, size=8)
    content = b"probe 1, side 512\0a\0b" + probe.labels.tobytes()
    content += b"".join(hashlib.sha256(task.train.raw(row)).digest() for row in rows(probe))
    assert probe.digest == hashlib.sha256(content).hexdigest()


def test_only_labelled_images_of_a_partly_labelled_folder(tmp_path: Path) -> None:
    for name, count in (("a", 8), ("b", 8), ("unlabelled", 8)):
        (tmp_path / name).mkdir()
        for i in range(count):
            (tmp_path / name / f"{i}.pgm").write_bytes(b"P5 1 1 255\n" + bytes([i]))
    task = Task.open(str(tmp_path))
    probe = Probe.draw(task, size=500)
    assert probe.size == len(task.train) == 10 and not any(
        name.startswith("unlabelled") for name in probe.names
    )
