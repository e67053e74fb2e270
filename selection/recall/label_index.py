"""The label index: which label names a catalogue has, which spaces they form, whose they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from zoo.files import replacing

if TYPE_CHECKING:
    import faiss

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Vectors = npt.NDArray[np.float32]
Costs = npt.NDArray[np.float64]

_CLASSES_AT_ONCE = 64  # (64, n) distances are in memory at a time


@dataclass(frozen=True, eq=False)
class LabelIndex:
    """n distinct label names, S label spaces made of them, m models.

    Parameters
    ----------
    source : str
        What the index was made from: the encoder, a space, and the state of the snapshot.
    names : list of n str
        In no order that matters.
    vectors : (n, E) float32
        Unit rows, the embedded names.
    spaces : (S, n) sparse bool
        Which names each space has; at least one.
    ids : list of m str
        The models in the order of their ids.
    space_of_model : (m,) int64
        The model's space, or -1 for a model without label names.
    quality : (m,) float32
        The part of the metadata prior that no task changes, higher is better.
    """

    source: str
    names: list[str]
    vectors: Vectors
    spaces: sparse.csr_array
    ids: list[str]
    space_of_model: Ints
    quality: Vectors

    @cached_property
    def _spaces_of_names(self) -> sparse.csr_array:
        return self.spaces.T.tocsr()  # (n, S)

    @cached_property
    def _flat(self) -> faiss.IndexFlatIP:
        import faiss

        flat = faiss.IndexFlatIP(self.vectors.shape[1])
        flat.add(self.vectors)
        return flat

    def nearest_names(self, classes: Vectors, count: int) -> tuple[Ints, Vectors]:
        """The nearest names (C, R) of each class (C, E), R at most ``count``, and their distances.

        A distance is 1 - cos; they ascend in each row.
        """
        similarity, names = self._flat.search(classes, min(count, len(self.names)))
        return names, 1 - similarity

    def models_per_space(self, permitted: Bools) -> Ints:
        """How many of the ``permitted`` (m,) models each space (S,) has."""
        with_names = self.space_of_model[permitted & (self.space_of_model >= 0)]
        return np.bincount(with_names, minlength=self.spaces.shape[0])

    def spaces_with(self, names: Ints) -> tuple[Ints, Ints]:
        """The spaces (p,) that have any of ``names`` (R,), and which of these (p,), in pairs."""
        chosen = self._spaces_of_names[names]
        counts = np.diff(chosen.indptr)
        places = np.repeat(np.arange(len(names)), counts)
        return chosen.indices, places

    def costs(
        self,
        spaces: Ints,
        classes: Vectors,
        shares: Costs,
        *,
        dtype: npt.DTypeLike = np.float64,
    ) -> Costs:
        """Price ``spaces`` (T,): their RWMD (T,) to ``classes`` (C, E) with ``shares`` (C,).

        Every name of every given space is compared with every class, in ``dtype``.
        """
        chosen = self.spaces[spaces]
        starts = chosen.indptr[:-1]  # (T,) of each space's names in ``names``
        names = chosen.indices.astype(np.intp)
        vectors = self.vectors
        if len(names) < len(vectors):
            used, names = np.unique(names, return_inverse=True)
            vectors = vectors[used]
        vectors = vectors.astype(dtype, copy=False)
        classes = classes.astype(dtype, copy=False)
        gathered = np.empty(len(names), dtype)
        costs = np.zeros(len(spaces))
        for begin in range(0, len(classes), _CLASSES_AT_ONCE):
            block = slice(begin, begin + _CLASSES_AT_ONCE)
            distances = 1 - classes[block] @ vectors.T  # (B, n)
            for share, of_class in zip(shares[block], distances, strict=True):
                np.take(of_class, names, out=gathered, mode="clip")  # "raise" would copy
                costs += share * np.minimum.reduceat(gathered, starts)
        return costs

    def save(self, path: Path) -> None:
        """Write the index as one ``.npz`` file, whole or not at all."""
        with replacing(path) as partial, open(partial, "wb") as file:
            np.savez(
                file,
                source=_as_bytes(self.source),
                names=_as_bytes(self.names),
                vectors=self.vectors,
                space_names=self.spaces.indices,
                space_starts=self.spaces.indptr,
                ids=_as_bytes(self.ids),
                space_of_model=self.space_of_model,
                quality=self.quality,
            )

    @classmethod
    def open(cls, path: Path) -> LabelIndex:
        """Read what ``save`` wrote."""
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            names = _from_bytes(stored["names"])
            indices, starts = stored["space_names"], stored["space_starts"]
            has_name = np.ones(len(indices), np.bool_)
            shape = (len(starts) - 1, len(names))
            return cls(
                source=_from_bytes(stored["source"]),
                names=names,
                vectors=stored["vectors"],
                spaces=sparse.csr_array((has_name, indices, starts), shape=shape),
                ids=_from_bytes(stored["ids"]),
                space_of_model=stored["space_of_model"],
                quality=stored["quality"],
            )


def _as_bytes(value: str | list[str]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _from_bytes(stored: npt.NDArray[np.uint8]) -> Any:
    return json.loads(stored.tobytes())
