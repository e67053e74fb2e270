"""What is put comes back bit for bit or not at all, whoever writes, dies or damages files
meanwhile.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from selection.probing.cache import CacheKey, FeatureCache, StoredOutputs

KEY = CacheKey("org/model", "a" * 40, "224 bicubic", "d" * 64)
PARTS = ("features", "logits", "classifier_weights", "classifier_bias")


def outputs(samples: int = 20, width: int = 8, classes: int = 5, seed: int = 0) -> StoredOutputs:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> npt.NDArray[np.float32]:
        return rng.normal(size=shape).astype(np.float32)

    return StoredOutputs(
        draw(samples, width), draw(samples, classes), draw(classes, width), draw(classes), 1.5
    )


def same(left: StoredOutputs | None, right: StoredOutputs) -> bool:
    if left is None or left.seconds != right.seconds:
        return False
    pairs = [(getattr(left, name), getattr(right, name)) for name in PARTS]
    return all(
        (a is None and b is None)
        or (
            a is not None
            and a.shape == b.shape
            and a.dtype == b.dtype
            and a.tobytes() == b.tobytes()
        )
        for a, b in pairs
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(), samples=st.integers(1, 6), width=st.integers(1, 6), classes=st.integers(0, 4)
)
def test_put_then_get_is_bit_equal(
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

    stored = StoredOutputs(draw(samples, width), seconds=data.draw(st.floats(0, 1e9)))
    if classes:
        stored = replace(
            stored,
            logits=draw(samples, classes),
            classifier_weights=draw(classes, width),
            classifier_bias=draw(classes),
        )
    cache = FeatureCache(tmp_path_factory.mktemp("cache"))
    cache.put(KEY, stored)
    assert same(cache.get(KEY), stored)


def test_special_values_keep_their_bits(tmp_path: Path) -> None:
    special = np.array(
        [[-0.0, 0.0, 1e-45, -1e-40, 3.4e38, np.inf, -np.inf, np.nan]], dtype=np.float32
    )
    cache = FeatureCache(tmp_path)
    cache.put(KEY, StoredOutputs(special, special))
    found = cache.get(KEY)
    assert (
        found is not None
        and found.features.tobytes() == special.tobytes()
        and np.signbit(found.features[0, 0])
    )


@pytest.mark.parametrize("field", ["model", "revision", "preprocessing", "probe"])
def test_every_part_of_the_key_counts(tmp_path: Path, field: str) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(KEY, outputs())
    other = replace(KEY, **{field: "../../other"})
    assert cache.get(other) is None and cache.get(KEY) is not None
    assert cache.path(other).parent == tmp_path
    cache.path(KEY).rename(cache.path(other))  # an entry under a wrong name is not believed
    assert cache.get(other) is None


def test_keys_do_not_run_together() -> None:
    assert CacheKey("ab", "c", "", "").digest != CacheKey("a", "bc", "", "").digest


def test_an_empty_cache_answers_none_and_makes_no_folder(tmp_path: Path) -> None:
    assert FeatureCache(tmp_path / "none").get(KEY) is None
    FeatureCache(tmp_path / "none").evict()
    assert not (tmp_path / "none").exists()


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    stored = outputs(3, 2, 2)
    cache.put(KEY, stored)
    content = cache.path(KEY).read_bytes()
    missing = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x41
        cache.path(KEY).write_bytes(damaged)
        found = cache.get(KEY)
        assert found is None or same(found, stored), position
        missing += found is None
        assert cache.path(KEY).exists() == (found is not None)
    assert missing > len(content) / 2


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(KEY, outputs(3, 2, 2))
    content = cache.path(KEY).read_bytes()
    for length in range(len(content)):
        cache.path(KEY).write_bytes(content[:length])
        assert cache.get(KEY) is None and not cache.path(KEY).exists()
    cache.put(KEY, outputs())
    assert same(cache.get(KEY), outputs())


@pytest.mark.parametrize(
    "features", [np.zeros((3, 2)), np.zeros(3, np.float32), np.zeros((0, 4), np.float32)]
)
def test_what_would_not_come_back_alike_is_refused(
    tmp_path: Path, features: npt.NDArray[np.float32]
) -> None:
    with pytest.raises(ValueError, match="float32"):
        FeatureCache(tmp_path).put(KEY, StoredOutputs(features))
    with pytest.raises(ValueError, match="logits are float64"):
        FeatureCache(tmp_path).put(
            KEY, StoredOutputs(np.zeros((2, 2), np.float32), np.zeros((2, 2)))
        )  # type: ignore[arg-type]
    assert names(tmp_path) == []


def test_the_least_recently_used_gives_way(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    keys = [replace(KEY, model=f"m{i}") for i in range(4)]
    for i, key in enumerate(keys[:3]):
        cache.put(key, outputs())
        os.utime(cache.path(key), (i, i))
    size = cache.path(keys[0]).stat().st_size
    assert cache.get(keys[0]) is not None  # used now: the second is the oldest
    limited = FeatureCache(tmp_path, max_bytes=3 * size + 20)
    limited.put(keys[3], outputs())
    assert [limited.get(key) is not None for key in keys] == [True, False, True, True]
    tiny = FeatureCache(tmp_path, max_bytes=1)
    tiny.put(keys[1], outputs())
    assert [tiny.get(key) is not None for key in keys] == [False, True, False, False]
    with pytest.raises(ValueError, match="max_bytes is -1"):
        FeatureCache(tmp_path, max_bytes=-1)


def test_foreign_files_and_young_temporaries_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for name, age in (("young.writing", 5), ("old.writing", 5_000)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    FeatureCache(tmp_path, max_bytes=0).evict()
    assert names(tmp_path) == ["notes.txt", "young.writing"]


def put_often(folder: Path, seed: int) -> None:
    cache = FeatureCache(folder, max_bytes=3_000_000)
    for i in range(25):
        cache.put(replace(KEY, model=f"m{i % 3}"), outputs(50, 64, 10, seed=i % 3))
        found = cache.get(replace(KEY, model=f"m{(i + seed) % 3}"))
        assert found is None or same(found, outputs(50, 64, 10, seed=(i + seed) % 3))


def test_two_processes_write_the_same_keys(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=put_often, args=(tmp_path, seed)) for seed in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert names(tmp_path) == sorted(
        FeatureCache(tmp_path).path(replace(KEY, model=f"m{i}")).name for i in range(3)
    )


_WRITER = """
import sys, numpy as np
from pathlib import Path
from selection.probing.cache import CacheKey, FeatureCache, StoredOutputs
cache = FeatureCache(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for i in range(3):
        values = np.full((2000, 500), i, np.float32)
        cache.put(CacheKey(f"m{i}", "r", "p", "d"), StoredOutputs(values))
        print("put", flush=True)
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cache = FeatureCache(tmp_path)
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        for _ in range(4):
            writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        for i in range(3):
            found = cache.get(CacheKey(f"m{i}", "r", "p", "d"))
            assert (
                found is not None
                and (found.features == i).all()
                and found.features.shape == (2000, 500)
            )
    for path in tmp_path.glob("*.writing"):
        os.utime(path, (0, 0))
    cache.evict()
    assert len(names(tmp_path)) == 3


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(KEY, outputs())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        cache.put(KEY, outputs(seed=9))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(cache.path(KEY))
    assert names(tmp_path) == [cache.path(KEY).name] and same(cache.get(KEY), outputs())


def test_a_full_disk(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        cache = FeatureCache(tmp_path)
        cache.put(KEY, outputs())
        with pytest.raises(OSError, match="No space left") as caught:
            cache.put(replace(KEY, model="large"), outputs(1000, 500))
        assert caught.value.errno == errno.ENOSPC
        assert names(tmp_path) == [cache.path(KEY).name] and same(cache.get(KEY), outputs())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize(("samples", "k"), [(60, 1), (60, 7), (60, 59), (2, 1)])
def test_neighbours_are_those_of_the_slow_way(
    tmp_path: Path, metric: str, samples: int, k: int
) -> None:
    stored = outputs(samples, 16)
    cache = FeatureCache(tmp_path)
    cache.put(KEY, stored)
    x = stored.features.astype(np.float64)
    if metric == "cosine":
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        distances = 1 - unit @ unit.T
    else:
        distances = ((x[:, None] - x[None]) ** 2).sum(-1)
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1)[:, :k]
    found = cache.neighbours(KEY, k, metric=metric)  # type: ignore[arg-type]
    assert np.array_equal(found.indices, order)
    np.testing.assert_allclose(
        found.distances, np.take_along_axis(distances, order, 1), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_copies_and_zeros_are_no_neighbours_of_themselves(tmp_path: Path, metric: str) -> None:
    features = np.zeros((30, 4), np.float32)
    features[15:] = 1
    cache = FeatureCache(tmp_path)
    cache.put(KEY, StoredOutputs(features))
    found = cache.neighbours(KEY, 5, metric=metric)  # type: ignore[arg-type]
    assert not (found.indices == np.arange(30)[:, None]).any() and found.distances[15:].max() < 1e-6
    assert all(len(set(row)) == 5 for row in found.indices.tolist())


def test_neighbours_that_cannot_be(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    with pytest.raises(KeyError, match="org/model"):
        cache.neighbours(KEY, 1)
    cache.put(KEY, outputs(5))
    for k in (0, 5):
        with pytest.raises(ValueError, match=f"{k} neighbours among 5 samples; expected 1 to 4"):
            cache.neighbours(KEY, k)


def test_reading_needs_no_faiss(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(KEY, outputs())
    code = f"""
import sys
from pathlib import Path
from selection.probing.cache import CacheKey, FeatureCache
assert FeatureCache(Path({str(tmp_path)!r})).get({KEY!r}).features.shape == (20, 8)
assert "faiss" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)


def test_the_index_is_a_flat_faiss_index_of_the_features(tmp_path: Path) -> None:
    import faiss

    FeatureCache(tmp_path).put(KEY, outputs())
    with np.load(FeatureCache(tmp_path).path(KEY), allow_pickle=False) as file:
        index = faiss.deserialize_index(file["index"])
    assert (
        type(index) is faiss.IndexFlatL2
        and index.reconstruct_n(0, 20).tobytes() == outputs().features.tobytes()
    )
