"""The label index of a catalogue: made when it is first asked for after a crawl, kept beside the
snapshot.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from selection.recall.label_index import Ints, LabelIndex, Lists, Texts
from selection.recall.names import NameEncoder
from selection.recall.prior import COLUMNS, quality
from zoo.catalogue import Catalogue
from zoo.home import home

if TYPE_CHECKING:
    import pyarrow as pa

USABLE = "loadable IS DISTINCT FROM false"
_FORMAT = 1
_CHUNK = 20_000  # names encoded at once
_TOLD = 20_000  # new names from which on the user is told why nothing happens for a while
_LABELS = "CASE WHEN len(labels) > 0 THEN md5_number_lower(array_to_string(labels, chr(31))) END"


def key_of(column: str = "id") -> str:
    """The SQL expression of a model's key in ``LabelIndex.keys``."""
    return f"md5_number_lower({column})"


def label_index(catalogue: Catalogue, encoder: NameEncoder, *, keep: bool = True) -> LabelIndex:
    """The index of the catalogue's usable models; built where there is none of this snapshot, with
    ``keep`` for good.

    It lies in ``NAME.labels/`` beside the snapshot ``NAME.parquet``, or under ``$TEACHER_ZOO_HOME``
    where that folder cannot be written. Only names that the last index does not have are embedded.
    It is renamed into place whole: a killed build leaves nothing that is read, and of two processes
    that build at once one waits for the other.
    """
    if not keep:
        return _build(catalogue, encoder, None)
    from filelock import FileLock

    name = _identity(catalogue.snapshot, encoder)
    shelf = _shelf(catalogue.snapshot)
    with contextlib.suppress(OSError, ValueError):
        return LabelIndex.open(shelf / name)
    with FileLock(shelf / ".lock"):
        with contextlib.suppress(OSError, ValueError):  # another process built it meanwhile
            return LabelIndex.open(shelf / name)
        _write(_build(catalogue, encoder, _last(shelf, encoder)), shelf, name)
        return LabelIndex.open(shelf / name)


def _identity(snapshot: Path, encoder: NameEncoder) -> str:
    """A name for the index of this very snapshot by this encoder: that of the encoder first, then
    of the file.
    """
    stat = snapshot.stat()
    return f"{_maker(encoder)}-{_digest(f'{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}')}"


def _maker(encoder: NameEncoder) -> str:
    return _digest(f"{_FORMAT} {encoder.name}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _shelf(snapshot: Path) -> Path:
    beside = snapshot.with_suffix(".labels")
    with contextlib.suppress(OSError):
        beside.mkdir(exist_ok=True)
        if os.access(beside, os.W_OK):
            return beside
    own = home() / "labels" / _digest(str(snapshot.resolve()))
    own.mkdir(parents=True, exist_ok=True)
    return own


def _last(shelf: Path, encoder: NameEncoder) -> LabelIndex | None:
    """The newest readable index of an earlier snapshot, by the same encoder."""
    for folder in sorted(
        shelf.glob(f"{_maker(encoder)}-*"), key=lambda path: -path.stat().st_mtime
    ):
        with contextlib.suppress(OSError, ValueError):
            return LabelIndex.open(folder)
    return None


def _write(index: LabelIndex, shelf: Path, name: str) -> None:
    """Put ``index`` on the shelf, whole, and take away what is older or half done; the caller holds
    the lock.
    """
    for torn in shelf.glob(".new-*"):
        shutil.rmtree(torn, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(dir=shelf, prefix=".new-"))
    try:
        index.save(fresh)
        fresh.chmod(0o777 & ~_umask())
        older = [
            path for path in shelf.iterdir() if path.is_dir() and path not in (fresh, shelf / name)
        ]
        if (shelf / name).exists():  # unreadable, else it would have been opened
            shutil.rmtree(shelf / name)
        os.replace(fresh, shelf / name)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    for path in older:
        shutil.rmtree(path, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# --- building


def _build(catalogue: Catalogue, encoder: NameEncoder, last: LabelIndex | None) -> LabelIndex:
    space_keys, names, spaces, holders = _label_spaces(catalogue)
    models, order, ids, keys, values = _models(catalogue, space_keys)
    places = np.argsort(keys, kind="stable")
    return LabelIndex(
        vectors=_vectors(names, encoder, last),
        names=Texts.of(names),
        spaces=spaces,
        holders=holders,
        models=models,
        ids=ids,
        quality=values,
        order=order,
        keys=keys[places],
        places=places.astype(np.int32),
    )


def _label_spaces(catalogue: Catalogue) -> tuple[npt.NDArray[np.uint64], list[str], Lists, Lists]:
    """The spaces' keys (S,) in ascending order, the unique names (n,), and the lists between
    them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    query = (
        f"SELECT {_LABELS} AS space, any_value(labels) AS labels FROM models WHERE {USABLE} AND"
        " len(labels) > 0 GROUP BY 1 ORDER BY 1"
    )
    table = pa.Table.from_batches(catalogue.batches(query)).combine_chunks()
    if not len(table):
        none = Lists(np.zeros(0, np.int32), np.zeros(1, np.int64))
        return np.zeros(0, np.uint64), [], none, none
    labels = table["labels"].combine_chunks()
    encoded = pc.fill_null(labels.flatten(), "").dictionary_encode()
    owner = np.repeat(
        np.arange(len(table)), pc.list_value_length(labels).to_numpy(zero_copy_only=False)
    )
    names = [str(name) for name in encoded.dictionary.to_pylist()]
    pairs = np.unique(
        owner * len(names) + encoded.indices.to_numpy(zero_copy_only=False)
    )  # a name twice in a space is one
    owner, name = np.divmod(pairs, len(names))
    return (
        table["space"].to_numpy().astype(np.uint64),
        names,
        Lists.of_pairs(owner, name, len(table)),
        Lists.of_pairs(name, owner, len(names)),
    )


def _models(
    catalogue: Catalogue, space_keys: npt.NDArray[np.uint64]
) -> tuple[Ints, npt.NDArray[np.int32], Texts, npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
    """The models of each space (S + 2,) and, in that order, their place by id, ids, keys and
    quality.
    """
    columns = ", ".join(name for name in COLUMNS if name != "id")
    query = (
        f"SELECT id, {key_of()} AS key, {_LABELS} AS space, {columns} FROM models WHERE {USABLE}"
        " ORDER BY id"
    )
    ids: list[pa.Array] = []
    spaces, keys, values = (
        [np.zeros(0, np.int64)],
        [np.zeros(0, np.uint64)],
        [np.zeros(0, np.float32)],
    )
    for batch in catalogue.batches(query):
        known = batch["space"].is_valid().to_numpy(zero_copy_only=False)
        space = batch["space"].fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64)
        spaces.append(
            np.where(known, np.searchsorted(space_keys, space), len(space_keys)).astype(np.int64)
        )
        keys.append(batch["key"].to_numpy(zero_copy_only=False).astype(np.uint64))
        values.append(quality(batch.select(list(COLUMNS)).to_pandas()).astype(np.float32))
        ids.append(batch["id"])
    space, key, value = np.concatenate(spaces), np.concatenate(keys), np.concatenate(values)
    best = np.lexsort((-value, space))  # stable: equal ones stay in the order of ids
    starts = np.concatenate([[0], np.cumsum(np.bincount(space, minlength=len(space_keys) + 1))])
    return starts, best.astype(np.int32), _texts(ids, best), key[best], value[best]


def _texts(chunks: list[pa.Array], order: npt.NDArray[np.integer]) -> Texts:
    """Millions of ids put in order without one Python string."""
    import pyarrow as pa

    taken = (
        pa.chunked_array(chunks, pa.string())
        .cast(pa.large_string())
        .take(pa.array(order))
        .combine_chunks()
    )
    if not len(taken):
        return Texts.of([])
    _, offsets, body = taken.buffers()
    starts = np.frombuffer(offsets, np.int64)[taken.offset : taken.offset + len(taken) + 1]
    return Texts(np.frombuffer(body, np.uint8)[starts[0] : starts[-1]], starts - starts[0])


def _vectors(
    names: list[str], encoder: NameEncoder, last: LabelIndex | None
) -> npt.NDArray[np.float32]:
    """(n, E) of the names: copied from ``last`` where it has them, else embedded."""
    width = encoder.encode(["a"]).shape[1]
    out = np.zeros((len(names), width), np.float32)
    known = {name: row for row, name in enumerate(last.names.all())} if last is not None else {}
    rows = np.array([known.get(name, -1) for name in names], np.int64)
    if last is not None:
        out[rows >= 0] = last.vectors[rows[rows >= 0]]
    new = np.flatnonzero(rows < 0)
    if len(new) >= _TOLD:
        print(
            f"indexing {len(new):,} label names of the catalogue; once after a crawl",
            file=sys.stderr,
        )
    for some in _pieces(new):
        out[some] = encoder.encode([names[place] for place in some])
    return out


def _pieces(places: Ints) -> Iterator[Ints]:
    for begin in range(0, len(places), _CHUNK):
        yield places[begin : begin + _CHUNK]
