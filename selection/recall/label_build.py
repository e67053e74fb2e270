"""Builds the label index of a catalogue, after each crawl once, and keeps it."""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse

from selection.recall.label_index import LabelIndex, Vectors
from selection.recall.names import NameEncoder
from selection.recall.prior import COLUMNS, quality
from zoo.catalogue import Catalogue
from zoo.home import label_folder
from zoo.terminal.progress import note

if TYPE_CHECKING:
    import pyarrow as pa

USABLE = "loadable IS DISTINCT FROM false"
_FORMAT = 4  # of the file; raised also where the quality of models is guessed otherwise
_SPACE = "CASE WHEN len(labels) > 0 THEN hash(labels) END"  # the same for equal lists of names
_AT_ONCE = 20_000  # names embedded at a time
_MANY = 20_000  # new names from which on a line explains the wait


def label_index(catalogue: Catalogue, encoder: NameEncoder, *, keep: bool = True) -> LabelIndex:
    """The index of the catalogue's usable models.

    With ``keep`` it lies in one file under ``$TEACHER_ZOO_HOME/labels``, replaced as a whole when
    the snapshot has changed; then only names that are new are embedded. A file that cannot be read
    is built anew.
    """
    if not keep:
        return _build(catalogue, encoder, "", None)
    place = str(catalogue.snapshot.resolve())
    digest = hashlib.sha256(place.encode()).hexdigest()[:12]
    path = label_folder() / f"{digest}.npz"
    state = catalogue.snapshot.stat()
    vectors_of = f"{_FORMAT} {encoder.name}"
    source = f"{vectors_of}, {state.st_size} {state.st_mtime_ns} {state.st_ino}"
    stored = _open(path)
    if stored is not None and stored.source == source:
        return stored
    reusable = stored if stored and stored.source.startswith(f"{vectors_of}, ") else None
    index = _build(catalogue, encoder, source, reusable)
    index.save(path)
    return index


def _open(path: Path) -> LabelIndex | None:
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return LabelIndex.open(path)
    return None


def _build(
    catalogue: Catalogue,
    encoder: NameEncoder,
    source: str,
    stored: LabelIndex | None,
) -> LabelIndex:
    keys, names, spaces = _label_spaces(catalogue)
    ids, space_of_model, values = _models(catalogue, keys)
    return LabelIndex(
        source=source,
        names=names.to_pylist(),
        vectors=_vectors(names, encoder, stored),
        spaces=spaces,
        ids=ids,
        space_of_model=space_of_model,
        quality=values,
    )


def _label_spaces(
    catalogue: Catalogue,
) -> tuple[npt.NDArray[np.uint64], pa.StringArray, sparse.csr_array]:
    """The spaces' keys (S,), ascending, the distinct names (n,), and which space has which."""
    import pyarrow as pa

    query = (
        f"SELECT {_SPACE} AS space, any_value(labels) AS labels FROM models WHERE {USABLE}"
        " AND len(labels) > 0 GROUP BY 1 ORDER BY 1"
    )
    table = pa.Table.from_batches(catalogue.batches(query)).combine_chunks()
    labels = pa.concat_arrays(table["labels"].chunks)
    encoded = labels.flatten().fill_null("").dictionary_encode()
    sizes = np.diff(labels.offsets.to_numpy())
    space = np.repeat(np.arange(len(table)), sizes)
    name = encoded.indices.to_numpy()
    has_name = np.ones(len(name), np.bool_)
    shape = (len(table), len(encoded.dictionary))
    spaces = sparse.coo_array((has_name, (space, name)), shape=shape)
    return table["space"].to_numpy(), encoded.dictionary, spaces.tocsr()  # sums duplicates


def _models(
    catalogue: Catalogue, keys: npt.NDArray[np.uint64]
) -> tuple[list[str], npt.NDArray[np.int64], Vectors]:
    """The ids of the usable models, in their order, with their spaces and their quality."""
    columns = ", ".join(COLUMNS)
    query = f"SELECT {columns}, {_SPACE} AS space FROM models WHERE {USABLE} ORDER BY id"
    ids: list[str] = []
    spaces = [np.zeros(0, np.int64)]
    values = [np.zeros(0, np.float32)]
    for batch in catalogue.batches(query):
        ids += batch["id"].to_pylist()
        has_names = batch["space"].is_valid().to_numpy(zero_copy_only=False)
        key = batch["space"].fill_null(0).to_numpy(zero_copy_only=False)
        space = np.searchsorted(keys, key)
        spaces.append(np.where(has_names, space, -1))
        table = batch.select(COLUMNS).to_pandas()
        values.append(quality(table).astype(np.float32))
    return ids, np.concatenate(spaces), np.concatenate(values)


def _vectors(names: pa.StringArray, encoder: NameEncoder, stored: LabelIndex | None) -> Vectors:
    """(n, E) of the distinct ``names``: those of ``stored`` where it has them, else embedded."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if stored is None:
        return _embed(names.to_pylist(), encoder)
    known = pc.index_in(names, value_set=pa.array(stored.names, pa.string()))
    is_new = known.is_null().to_numpy(zero_copy_only=False)
    vectors = np.empty((len(names), stored.vectors.shape[1]), np.float32)
    vectors[~is_new] = stored.vectors[known.drop_null().to_numpy()]
    vectors[is_new] = _embed(names.filter(pa.array(is_new)).to_pylist(), encoder)
    return vectors


def _embed(names: list[str], encoder: NameEncoder) -> Vectors:
    if len(names) >= _MANY:
        note(f"embedding {len(names):,} label names, once after a crawl")
    vectors = []
    for begin in range(0, max(len(names), 1), _AT_ONCE):  # without names once, for (0, E)
        batch = names[begin : begin + _AT_ONCE]
        vectors.append(encoder.encode(batch))
    return np.concatenate(vectors)
