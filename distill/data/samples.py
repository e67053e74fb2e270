"""The samples of a run, decoded and packed once and held in a memory map."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from selection.kinds.kind import CorruptSample
from zoo.errors import UserError
from zoo.files import DamagedFile, load_checked_json, write_checked_json
from zoo.terminal.progress import Progress, note

if TYPE_CHECKING:
    from torch import Tensor

    from selection.task import Split

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
CHUNK = 512


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How one decoded sample becomes one row of the memory map; the task's kind has it.

    file   the name of the memory map
    dtype  of a row
    shape  of a row
    key    what else decides the rows, JSON
    pack   a decoded sample -> an array of ``shape`` and ``dtype``; safe in threads
    nouns  what messages call the samples
    """

    file: str
    dtype: str
    shape: tuple[int, ...]
    key: tuple[int | str, ...]
    pack: Callable[[Any], npt.NDArray[Any]]
    nouns: str = "samples"


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """N packed samples of one shape.

    inputs   (N, ...), a memory map: (N, 3, s, s) uint8 pixels of images, (N, L) int32 tokens of
             texts
    labels   (N,) int64 in [0, C), or -1 where a sample is unlabelled or could not be decoded
    usable   (n,) int64, the rows whose sample could be decoded, in order
    digest   hex, of the source samples and of how they were packed
    digests  (N, 16) uint8, the key of each sample in the store of teachers' outputs
    splits   the samples themselves, one split after the other
    """

    inputs: npt.NDArray[Any]
    labels: Labels
    usable: Labels
    digest: str
    digests: Bytes = field(default_factory=lambda: np.zeros((0, 16), np.uint8))
    splits: tuple[Split, ...] = ()

    @property
    def size(self) -> int:
        """The last length of a row: pixels a side, or tokens."""
        return int(self.inputs.shape[-1])

    @property
    def nouns(self) -> str:
        """What messages call the samples."""
        return self.splits[0].kind.nouns if self.splits else "samples"

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def groups(self) -> Labels:
        """(N,) equal numbers for samples with one content, -1 for all others, see ``Split``."""
        groups = [
            np.full(len(split), -1) if split.groups is None else split.groups
            for split in self.splits
        ]
        return np.concatenate(groups) if groups else np.full(len(self), -1)

    def sample(self, row: int) -> Any:
        """Sample ``row`` as teachers are shown it, like a sample of the probe."""
        split, place = located(self.splits, row)
        return split.sample(place)

    def unreadable(self) -> dict[str, str]:
        """The names of the samples that could not be decoded, and why: each is read once more."""
        reasons = {}
        for row in np.setdiff1d(np.arange(len(self)), self.usable):
            split, place = located(self.splits, int(row))
            try:
                split.sample(place)
            except CorruptSample as error:
                reasons[split.name(place)] = str(error)
        return reasons

    def chunks(self, rows: Labels) -> Iterator[Tensor]:
        """The rows ``rows`` (n,) as tensors (at most ``CHUNK``, ...), in order.

        A split of 100,000 samples is read piece by piece, never copied out of its map as a whole.
        """
        import torch

        for start in range(0, len(rows), CHUNK):
            yield torch.from_numpy(self.inputs[rows[start : start + CHUNK]])


def located(splits: Sequence[Split], row: int) -> tuple[Split, int]:
    """The split that holds ``row`` of the joined splits, and the place in it."""
    for split in splits:
        if row < len(split):
            return split, int(row)
        row -= len(split)
    raise IndexError(row)


def open_samples(
    splits: Sequence[Split],
    packing: Packing,
    *,
    folder: Path,
    progress_name: str = "decoding",
) -> Samples:
    """The samples of ``splits``, one after the other, packed; decoded once into ``folder``.

    Decoding goes on where a stopped run left off. A damaged sample becomes a row of zeros that is
    not ``usable``. Raises ``UserError`` where no sample at all can be decoded, and ``OSError``
    where the disk is full (what was done is kept).
    """
    from filelock import FileLock

    text = json.dumps([[s.digest for s in splits], *packing.key])
    digest = hashlib.sha256(text.encode()).hexdigest()
    home = folder / digest[:24]
    labels = np.concatenate([np.asarray(s.labels, dtype=np.int64) for s in splits])
    shape = (len(labels), *packing.shape)
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(str(home) + ".lock"):  # of several processes one decodes
        damaged = np.asarray(
            _decode(
                splits,
                home,
                packing,
                progress_name,
            ),
            dtype=np.int64,
        )
    usable = np.setdiff1d(np.arange(len(labels)), damaged)
    if not len(usable):
        raise UserError(
            f"none of the {len(labels)} {packing.nouns} can be decoded: give {packing.nouns} that"
            " open in a viewer"
        )
    labels[damaged] = -1
    # copy-on-write: torch wants an array that it may write to, and the file must never change
    inputs = np.memmap(
        home / packing.file,
        dtype=packing.dtype,
        mode="c",
        shape=shape,
    )
    return Samples(
        inputs=inputs,
        labels=labels,
        usable=usable,
        digest=digest,
        digests=np.fromfile(home / "digests.u8", dtype=np.uint8).reshape(-1, 16),
        splits=tuple(splits),
    )


def _decode(
    splits: Sequence[Split],
    home: Path,
    packing: Packing,
    progress_name: str,
) -> list[int]:
    """Write what is missing of the packed rows and ``digests.u8``; returns the damaged rows.

    ``progress.json`` follows each chunk. Plain writes, not a memory map: a full disk is then an
    error that can be caught, not a killed process.
    """
    count = sum(map(len, splits))
    row_bytes = math.prod(packing.shape) * np.dtype(packing.dtype).itemsize
    progress = _decoded_so_far(home, packing, row_bytes)
    done, damaged, checksums = progress.done, progress.damaged, progress.checksums
    if done == count:
        return damaged
    with (
        _appending(home / packing.file, done * row_bytes) as packed,
        _appending(home / "digests.u8", done * 16) as digests,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        Progress.default().over(
            progress_name,
            unit=packing.nouns,
            total=count,
            done=done,
        ) as meter,
    ):
        decode_row = partial(_decode_row, splits, packing)
        for start in range(done, count, CHUNK):
            rows = range(start, min(start + CHUNK, count))
            samples = list(pool.map(decode_row, rows))
            damaged += [row for row, sample in zip(rows, samples, strict=True) if sample.damaged]
            chunk = b"".join(sample.values.tobytes() for sample in samples)
            keys = b"".join(sample.digest for sample in samples)
            for file, content in ((packed, chunk), (digests, keys)):
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            checksums.append(zlib.crc32(keys, zlib.crc32(chunk)))
            progress = _DecodedSoFar(rows.stop, damaged, checksums)
            write_checked_json(home / "progress.json", progress._asdict())
            meter.at(rows.stop)
    return damaged


class _DecodedSoFar(NamedTuple):
    """The rows done, those of them that are damaged, and the crc32 of each chunk."""

    done: int
    damaged: list[int]
    checksums: list[int]


def _decoded_so_far(home: Path, packing: Packing, row_bytes: int) -> _DecodedSoFar:
    """What ``progress.json`` says is done, up to the first chunk that is not as it was written."""
    nothing = _DecodedSoFar(0, [], [])
    try:
        progress = _DecodedSoFar(**load_checked_json(home / "progress.json"))
    except FileNotFoundError:
        return nothing
    except (DamagedFile, TypeError):  # or of a version that kept no checksums
        return nothing
    done = 0
    with _reading(home / packing.file) as packed, _reading(home / "digests.u8") as digests:
        for checksum in progress.checksums:
            rows = min(CHUNK, progress.done - done)
            chunk, keys = packed.read(rows * row_bytes), digests.read(rows * 16)
            if zlib.crc32(keys, zlib.crc32(chunk)) != checksum:
                note(f"{home} is damaged after {done} {packing.nouns}; these are decoded anew")
                break
            done += rows
    kept = math.ceil(done / CHUNK)
    damaged = [row for row in progress.damaged if row < done]
    return _DecodedSoFar(done, damaged, progress.checksums[:kept])


def _reading(path: Path) -> BinaryIO:
    """The file at ``path``, or an empty one where it is missing."""
    return open(path, "rb") if path.exists() else io.BytesIO()


@contextmanager
def _appending(path: Path, start: int) -> Iterator[BinaryIO]:
    """The file at ``path``, cut off at byte ``start`` and open for writing from there."""
    with open(path, "r+b" if start else "wb") as file:
        file.truncate(start)
        file.seek(start)
        yield file


class _DecodedSample(NamedTuple):
    """A packed sample, zeros if it is damaged, and the digest of its bytes."""

    values: npt.NDArray[Any]
    digest: bytes
    damaged: bool = False


def _decode_row(splits: Sequence[Split], packing: Packing, row: int) -> _DecodedSample:
    split, place = located(splits, row)
    try:
        encoded = split.raw(place)
        values = packing.pack(split.decode(encoded))
    except CorruptSample:  # one bad photograph must not end a run
        zeros = np.zeros(packing.shape, packing.dtype)
        return _DecodedSample(zeros, bytes(16), damaged=True)
    return _DecodedSample(values, split.fingerprint(encoded)[:16])


def refuse_equal_samples(samples: Samples, *, nouns: str) -> None:
    """Raise ``UserError`` where all samples are equal: nothing tells their classes apart."""
    rows = samples.usable
    if len(rows) < 2:
        return
    first = samples.inputs[rows[0]]
    if all(np.array_equal(samples.inputs[row], first) for row in rows[1:]):
        raise UserError(
            f"all {len(rows)} training {nouns} are equal: nothing tells the classes apart"
        )


class Stream:
    """An endless, seeded order of ``rows``: pass after pass, each a new permutation.

    A function of the position alone, so that a resumed run draws what the stopped run would have.
    """

    def __init__(self, rows: Labels, *, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self._orders: dict[int, Labels] = {}

    def take(self, start: int, count: int) -> Iterator[tuple[int, Labels]]:
        """Positions ``start`` to ``start + count`` as (pass number, rows) pieces."""
        while count > 0:
            number, offset = divmod(start, len(self.rows))
            piece = self._order(number)[offset : offset + count]
            yield number, piece
            start, count = start + len(piece), count - len(piece)

    def _order(self, number: int) -> Labels:
        """The rows in the order of pass ``number``; a batch may span two passes, which are kept."""
        if number not in self._orders:
            rng = np.random.default_rng([self.seed, number])
            previous = {n: order for n, order in self._orders.items() if n == number - 1}
            self._orders = {**previous, number: self.rows[rng.permutation(len(self.rows))]}
        return self._orders[number]
