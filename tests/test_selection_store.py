"""What is written comes back bit for bit or not at all, whoever writes, dies or damages files
meanwhile; a teacher sees no image twice.
"""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from selection.probing import store as module
from selection.probing.store import (
    NewRows,
    StoredRows,
    StoreKey,
    TeacherStore,
    outputs_of,
)
from selection.sources.images import image_digest
from tests.places import ROOT, flipped

KEY = StoreKey(model="org/model", revision="a" * 40, preprocessing="224 bicubic float32")
VIEW = replace(KEY, view="flip seed 0 view 1")
HIDDEN = replace(KEY, content=("hidden",))


def digests_of(count: int, start: int = 0) -> list[bytes]:
    return [image_digest(str(number).encode()) for number in range(start, start + count)]


def outputs(samples: int = 20, width: int = 8, classes: int = 5, seed: int = 0) -> NewRows:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> npt.NDArray[np.float32]:
        return rng.normal(size=shape).astype(np.float32)

    return NewRows(
        {"features": draw(samples, width), "logits": draw(samples, classes)},
        {"classifier_weights": draw(classes, width), "classifier_bias": draw(classes)},
    )


def same(left: StoredRows, right: NewRows) -> bool:
    """Whether all rows are there, bit for bit, and the classifier too."""
    return left.complete and all(
        part.keys() == other.keys()
        and all(
            part[name].dtype == other[name].dtype
            and part[name].shape == other[name].shape
            and part[name].tobytes() == other[name].tobytes()
            for name in part
        )
        for part, other in ((left.arrays, right.arrays), (left.classifier, right.classifier))
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def shards(store: TeacherStore, key: StoreKey = KEY) -> list[Path]:
    return sorted(store.entry(key).glob("rows-*"))


@pytest.mark.journey
@settings(deadline=None, max_examples=60)
@given(
    data=st.data(), samples=st.integers(1, 6), width=st.integers(1, 6), classes=st.integers(0, 4)
)
def test_what_is_written_is_read_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    samples: int,
    width: int,
    classes: int,
) -> None:
    def draw(*shape: int) -> npt.NDArray[np.float32]:
        return data.draw(hnp.arrays(np.uint32, shape, elements=st.integers(0, 2**32 - 1))).view(
            np.float32
        )

    new = NewRows({"features": draw(samples, width)}, {})
    if classes:
        classifier = {
            "classifier_weights": draw(classes, width),
            "classifier_bias": draw(classes),
        }
        new = NewRows(new.arrays | {"logits": draw(samples, classes)}, classifier)  # type: ignore[operator]
    store = TeacherStore(tmp_path_factory.mktemp("store"))
    seconds = data.draw(st.floats(0, 1e9))
    store.write(KEY, digests_of(samples), new, seconds=seconds)
    stored = store.read(KEY, digests_of(samples))
    assert same(stored, new)
    assert stored.seconds == pytest.approx(seconds, rel=1e-6, abs=1e-30)


def test_special_values_keep_their_bits(tmp_path: Path) -> None:
    special = np.array(
        [[-0.0, 0.0, 1e-45, -1e-40, 3.4e38, np.inf, -np.inf, np.nan]], dtype=np.float32
    )
    store = TeacherStore(tmp_path)
    store.write(KEY, digests_of(1), NewRows({"features": special}, {}))
    assert store.read(KEY, digests_of(1)).arrays["features"].tobytes() == special.tobytes()


def test_rows_belong_to_images_in_whatever_order_and_shard(tmp_path: Path) -> None:
    store = TeacherStore(tmp_path)
    whole = outputs(30)
    for start, stop in ((0, 12), (12, 30)):
        part = NewRows({n: v[start:stop] for n, v in whole.arrays.items()}, whole.classifier)
        store.write(KEY, digests_of(30)[start:stop], part, seconds=stop - start)
    order = [25, 3, 3, 29, 11]
    wanted = [digests_of(30)[row] for row in order]
    stored = store.read(KEY, [*wanted, image_digest(b"another")])
    assert stored.present.tolist() == [True] * 5 + [False]
    for name, values in whole.arrays.items():
        assert stored.arrays[name][:5].tobytes() == values[order].tobytes()
        assert not stored.arrays[name][5].any()
    assert stored.seconds == pytest.approx(4)  # a second an image, one image twice


def test_views_and_hidden_states_are_kept_as_float16_within_its_range(tmp_path: Path) -> None:
    store = TeacherStore(tmp_path)
    values = np.array([[1e6, -1e6, 0.1]], np.float32)
    store.write(VIEW, digests_of(1), NewRows({"features": values}, {}))
    store.write(HIDDEN, digests_of(1), NewRows({"hidden": values[None]}, {}))
    expected = np.array([65504, -65504, 0.1], np.float16)
    for key, name in ((VIEW, "features"), (HIDDEN, "hidden")):
        stored = store.read(key, digests_of(1)).arrays[name]
        assert stored.dtype == np.float16
        assert (stored.ravel() == expected).all()


@pytest.mark.parametrize("field", ["model", "revision", "preprocessing", "view"])
def test_every_part_of_the_key_counts(tmp_path: Path, field: str) -> None:
    store = TeacherStore(tmp_path)
    store.write(KEY, digests_of(20), outputs())
    other = replace(KEY, **{field: "../../other"})  # type: ignore[arg-type]
    assert not store.read(other, digests_of(20)).present.any()
    assert same(store.read(KEY, digests_of(20)), outputs())
    assert store.entry(other).parent == tmp_path
    store.entry(KEY).rename(store.entry(other))  # an entry under a wrong name is not believed
    assert not store.read(other, digests_of(20)).present.any()


def test_keys_do_not_run_together() -> None:
    left, right = (
        StoreKey(model=model, revision=revision, preprocessing="")
        for model, revision in (("ab", "c"), ("a", "bc"))
    )
    assert left.digest != right.digest


def test_outputs_of_an_earlier_format_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TeacherStore(tmp_path)
    with monkeypatch.context() as earlier:
        earlier.setattr(
            "selection.probing.stored.key.FORMAT", "2"
        )  # before preprocessing and cuts changed
        store.write(KEY, digests_of(20), outputs())
        assert store.read(KEY, digests_of(20)).complete
    assert not store.read(KEY, digests_of(20)).present.any()
    assert list(store.keys(KEY.model, KEY.revision)) == []
    store.write(KEY, digests_of(20), outputs(seed=1))
    assert same(store.read(KEY, digests_of(20)), outputs(seed=1))


def test_an_empty_store_has_no_rows_and_makes_no_folder(tmp_path: Path) -> None:
    store = TeacherStore(tmp_path / "none")
    assert store.read(KEY, digests_of(3)).present.tolist() == [False] * 3
    store.evict()
    assert list(store.keys("org/model", "a" * 40)) == []
    assert not (tmp_path / "none").exists()


def test_the_keys_of_a_model_are_remembered(tmp_path: Path) -> None:
    store = TeacherStore(tmp_path)
    for key in (KEY, VIEW, replace(KEY, revision="b" * 40)):
        store.write(key, digests_of(20), outputs())
    assert sorted(map(repr, store.keys("org/model", "a" * 40))) == sorted([repr(KEY), repr(VIEW)])


@pytest.mark.journey
@pytest.mark.parametrize("name", ["rows-*", "classifier*"])
def test_every_flipped_bit_is_noticed(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged classifier takes the rows with it: a teacher without one is another teacher."""
    store = TeacherStore(tmp_path)
    store.write(KEY, digests_of(3), outputs(3, 2, 2))
    files = {path: path.read_bytes() for path in store.entry(KEY).iterdir()}
    path = next(store.entry(KEY).glob(name))
    for bit in range(8 * len(files[path])):
        path.write_bytes(flipped(files[path], bit))
        assert not store.read(KEY, digests_of(3)).present.any(), bit
        assert not path.exists(), bit
        for other, content in files.items():
            other.write_bytes(content)
    assert capsys.readouterr().err.count("are damaged") == 8 * len(files[path])


@pytest.mark.journey
def test_no_flipped_bit_of_the_key_file_changes_an_answer(tmp_path: Path) -> None:
    store, new = TeacherStore(tmp_path), outputs(3, 2, 2)
    store.write(KEY, digests_of(3), new)
    path = store.entry(KEY) / "key.json"
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        path.write_bytes(flipped(content, bit))
        assert same(store.read(KEY, digests_of(3)), new), bit
        assert list(store.keys(KEY.model, KEY.revision)) in ([], [KEY]), bit


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    store = TeacherStore(tmp_path)
    store.write(KEY, digests_of(3), outputs(3, 2, 2))
    path = shards(store)[0]
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert not store.read(KEY, digests_of(3)).present.any()
        assert not path.exists()
    store.write(KEY, digests_of(3), outputs(3, 2, 2))
    assert same(store.read(KEY, digests_of(3)), outputs(3, 2, 2))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.zeros((2, 2))}, "features are float64; float32 is stored"),
        ({"features": np.zeros((3, 2), np.float32)}, "other lengths than 2 samples"),
        ({"hidden": np.zeros((2, 2), np.float32)}, "expected features or logits"),
        ({}, "expected features or logits"),
    ],
)
def test_what_would_not_come_back_alike_is_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TeacherStore(tmp_path).write(KEY, digests_of(2), NewRows(arrays, {}))
    assert names(tmp_path) == []


def test_the_least_recently_used_entry_is_evicted(tmp_path: Path) -> None:
    store = TeacherStore(tmp_path)
    keys = [replace(KEY, model=f"m{number}") for number in range(4)]
    for number, key in enumerate(keys[:3]):
        store.write(key, digests_of(20), outputs())
        for path in store.entry(key).iterdir():
            os.utime(path, (number, number))
    size = sum(path.stat().st_size for path in store.entry(keys[0]).iterdir())
    assert store.read(keys[0], digests_of(20)).complete  # used now: the second is the oldest
    limited = TeacherStore(tmp_path, max_bytes=3 * size + 20)
    limited.write(keys[3], digests_of(20), outputs())
    assert [limited.read(key, digests_of(20)).complete for key in keys] == [True, False, True, True]
    tiny = TeacherStore(tmp_path, max_bytes=1)
    tiny.write(keys[1], digests_of(20), outputs())
    assert [tiny.read(key, digests_of(1)).complete for key in keys] == [False, True, False, False]
    with pytest.raises(ValueError, match="max_bytes is -1"):
        TeacherStore(tmp_path, max_bytes=-1)


def test_eviction_leaves_foreign_files_and_young_temporary_files(tmp_path: Path) -> None:
    store = TeacherStore(tmp_path, max_bytes=10**6)
    store.write(KEY, digests_of(20), outputs())
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "of_an_older_version.outputs").write_text("x")
    (tmp_path / "emptied").mkdir()
    os.utime(tmp_path / "emptied", (0, 0))
    for name, age in ((".young.part", 5), (".old.part", 5_000)):
        (store.entry(KEY) / name).write_bytes(b"x")
        os.utime(store.entry(KEY) / name, (time.time() - age,) * 2)
    store.evict()
    assert names(tmp_path) == sorted([KEY.digest, "notes.txt"])
    assert [name for name in names(store.entry(KEY)) if name.endswith(".part")] == [".young.part"]


def write_often(folder: Path, seed: int) -> None:
    store = TeacherStore(folder, max_bytes=100_000)
    for number in range(25):
        key = replace(KEY, model=f"m{number % 3}")
        store.write(key, digests_of(50), outputs(50, 64, 10, seed=number % 3))
        read = (number + seed) % 3
        stored = store.read(replace(KEY, model=f"m{read}"), digests_of(50))
        assert (
            not stored.present.any()
            or not stored.classifier
            or same(stored, outputs(50, 64, 10, seed=read))
        )


def test_two_processes_write_the_same_keys(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_often, args=(tmp_path, seed)) for seed in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert not list(tmp_path.rglob("*.part"))


_WRITER = """
import sys, numpy as np
from pathlib import Path
from selection.probing.store import NewRows, StoreKey, TeacherStore
from selection.sources.images import image_digest
store = TeacherStore(Path(sys.argv[1]))
digests = [image_digest(str(number).encode()) for number in range(2000)]
while True:
    for i in range(3):
        values = np.full((2000, 500), i, np.float32)
        key = StoreKey(model=f"m{i}", revision="r", preprocessing="p")
        store.write(key, digests, NewRows({"features": values}, {}))
        print("written", flush=True)
"""


@pytest.mark.journey
def test_killed_while_writing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    store = TeacherStore(tmp_path)
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        for _ in range(4):
            writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        for number in range(3):
            key = StoreKey(model=f"m{number}", revision="r", preprocessing="p")
            stored = store.read(key, digests_of(2000))
            assert stored.complete
            assert (stored.arrays["features"] == number).all()
    for path in tmp_path.rglob("*.part"):
        os.utime(path, (0, 0))
    store.evict()
    assert not list(tmp_path.rglob("*.part"))


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TeacherStore(tmp_path)
    store.write(KEY, digests_of(20), outputs())
    before = names(store.entry(KEY))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        store.write(KEY, digests_of(20, start=90), outputs(seed=9))
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path) in str(caught.value.filename)
    assert names(store.entry(KEY)) == before
    assert same(store.read(KEY, digests_of(20)), outputs())


def test_a_full_disk(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        store = TeacherStore(tmp_path)
        store.write(KEY, digests_of(20), outputs())
        with pytest.raises(OSError, match="No space left") as caught:
            store.write(KEY, digests_of(1000, start=50), outputs(1000, 500))
        assert caught.value.errno == errno.ENOSPC
        assert len(shards(store)) == 1
        assert same(store.read(KEY, digests_of(20)), outputs())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_reading_needs_neither_faiss_nor_torch(tmp_path: Path) -> None:
    TeacherStore(tmp_path).write(KEY, digests_of(20), outputs())
    code = f"""
import sys
from pathlib import Path
from selection.probing.store import StoreKey, TeacherStore
stored = TeacherStore(Path({str(tmp_path)!r})).read({KEY!r}, {digests_of(20)!r})
assert stored.complete and stored.arrays["features"].shape == (20, 8)
assert not {{"faiss", "torch"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


class Teacher:
    """Answers with a function of the image's number; notes which images it saw, and may stop."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.seen: list[int] = []
        self.stop_after = stop_after

    def compute(self, rows: Sequence[int]) -> NewRows:
        if self.stop_after is not None:
            rows = rows[: max(0, self.stop_after - len(self.seen))]
        self.seen += rows
        return NewRows({"features": np.array(rows, np.float32)[:, None]}, {})


@pytest.mark.journey
@settings(deadline=None, max_examples=40)
@given(
    before=st.lists(st.integers(0, 29), max_size=30),
    stop_after=st.integers(0, 30),
    block=st.integers(1, 40),
)
def test_a_teacher_sees_each_missing_image_once_and_a_stopped_one_goes_on(
    tmp_path_factory: pytest.TempPathFactory, before: list[int], stop_after: int, block: int
) -> None:
    store = TeacherStore(tmp_path_factory.mktemp("store"))
    digests = digests_of(30)
    there = sorted(set(before))
    if there:
        values = np.array(there, np.float32)[:, None]
        store.write(KEY, [digests[row] for row in there], NewRows({"features": values}, {}))
    stopped, second, third = Teacher(stop_after=stop_after), Teacher(), Teacher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARD_ROWS", block)
        stored = outputs_of(store, KEY, digests, stopped.compute)
        assert int(stored.present.sum()) == min(30, len(there) + stop_after)
        stored = outputs_of(store, KEY, digests, second.compute)
        outputs_of(store, KEY, digests, third.compute)
    assert (stored.arrays["features"][:, 0] == np.arange(30)).all()
    assert sorted(there + stopped.seen + second.seen) == list(range(30))
    assert third.seen == []


def test_the_digest_of_an_image_is_the_documented_one() -> None:
    assert image_digest(b"image") == hashlib.sha256(b"image").digest()[:16]


def test_a_damaged_classifier_takes_its_rows_with_it(tmp_path: Path) -> None:
    store, digests = TeacherStore(tmp_path), digests_of(20)
    store.write(KEY, digests, outputs())
    (classifier,) = store.entry(KEY).glob("classifier.safetensors")
    content = classifier.read_bytes()
    classifier.write_bytes(flipped(content, 8 * len(content) - 1))
    assert not store.read(KEY, digests).present.any()
    assert list(store.entry(KEY).iterdir()) == []  # nothing of the old teacher meets a new one's
    store.write(KEY, digests, outputs(seed=1))
    assert same(store.read(KEY, digests), outputs(seed=1))


def test_what_fits_exactly_is_kept(tmp_path: Path) -> None:
    store, other = TeacherStore(tmp_path), replace(KEY, model="org/other")
    for key, age in ((KEY, 200), (other, 100)):
        store.write(key, digests_of(20), outputs())
        for path in store.entry(key).iterdir():
            os.utime(path, (time.time() - age, time.time() - age))
    total = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    TeacherStore(tmp_path, max_bytes=total).evict()
    assert list(store.keys("org/model", KEY.revision)) == [KEY]
    TeacherStore(tmp_path, max_bytes=total - 1).evict()
    assert list(store.keys("org/model", KEY.revision)) == []
    assert list(store.keys("org/other", KEY.revision)) == [other]


def test_a_teacher_that_stops_in_one_block_is_not_asked_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_ROWS", 4)
    asked: list[list[int]] = []

    def compute(rows: Sequence[int]) -> NewRows:
        asked.append(list(rows))
        return outputs(samples=min(len(rows), 3))  # a budget ended

    store = TeacherStore(tmp_path)
    assert (
        outputs_of(store, KEY, digests_of(10), compute).present.tolist() == [True] * 3 + [False] * 7
    )
    assert asked == [[0, 1, 2, 3]]
    assert outputs_of(store, KEY, digests_of(10), compute).present.tolist() == (
        [True] * 7 + [False] * 3
    )
    assert asked[1:] == [[3], [4, 5, 6, 7]]
