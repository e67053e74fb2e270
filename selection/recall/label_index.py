"""Which models have which label names: names, the unique label spaces made of them, and the models
that share a space.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selection.evidence import Floats

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists end to end: list ``i`` is ``flat[starts[i] : starts[i + 1]]``; both may be
    memory-mapped files.
    """

    flat: npt.NDArray[np.int32]
    starts: Ints

    @classmethod
    def of_pairs(
        cls, owners: npt.NDArray[np.integer], values: npt.NDArray[np.integer], count: int
    ) -> Lists:
        """``count`` lists; list ``o`` holds the ``values`` of the pairs with that owner, in the
        order of the pairs.
        """
        order = np.argsort(owners, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=count))]).astype(
            np.int64
        )
        return cls(values[order].astype(np.int32), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def lengths(self, which: npt.NDArray[np.integer] | slice = slice(None)) -> Ints:
        """The lists' lengths (n,)."""
        return np.asarray(self.starts[1:][which] - self.starts[:-1][which])

    def take(self, which: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int32], Ints]:
        """The lists ``which`` (n,) end to end (T,), and where each starts in that (n,)."""
        lengths = self.lengths(which)
        starts = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum())) + np.repeat(
            self.starts[:-1][which] - starts, lengths
        )
        return np.asarray(self.flat[places]), starts


@dataclass(frozen=True, eq=False)
class Texts:
    """Strings end to end as UTF-8."""

    body: npt.NDArray[np.uint8]
    starts: Ints

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        encoded = [text.encode("utf-8", "replace") for text in texts]
        starts = np.cumsum([0, *(len(text) for text in encoded)]).astype(np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, place: int) -> str:
        return self.body[self.starts[place] : self.starts[place + 1]].tobytes().decode()

    def all(self) -> list[str]:
        """Every text, in order."""
        whole, ends = self.body.tobytes(), self.starts.tolist()
        return [whole[begin:end].decode() for begin, end in itertools.pairwise(ends)]


@dataclass(frozen=True, eq=False)
class LabelIndex:
    """n unique label names, S unique label spaces, m models, in arrays that may be memory-mapped.

    ``vectors`` (n, E) unit rows; ``spaces`` leads from a space to its names, ``holders`` from a
    name to the spaces that have it, ``models`` from a space to its models (list S: the models
    without label names). Models lie in the order of their space, there the best by ``quality`` (m,)
    first, then by id; ``order`` (m,) is their place in the order of ids, ``keys`` (m,) are sorted
    hashes of ids and ``places`` (m,) the models they belong to.
    """

    vectors: Floats
    names: Texts
    spaces: Lists
    holders: Lists
    models: Ints  # (S + 2,): models of space s are models[s] ... models[s + 1] - 1
    ids: Texts
    quality: npt.NDArray[np.float32]
    order: npt.NDArray[np.int32]
    keys: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int32]

    def positions(self, keys: npt.NDArray[np.uint64]) -> Ints:
        """The models with these hashes of their ids; those that are not in the index are left
        out.
        """
        if not len(self.keys):
            return np.zeros(0, np.int64)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.asarray(self.places[at[self.keys[at] == keys]], dtype=np.int64)

    def counts(self, allowed: npt.NDArray[np.bool_] | None = None) -> Ints:
        """Models of each space (S + 1,), of those that are ``allowed`` (m,); the last are those
        without label names.
        """
        if allowed is None:
            return np.diff(self.models)
        total = np.concatenate([[0], np.cumsum(allowed)])
        return np.asarray(total[self.models[1:]] - total[self.models[:-1]], dtype=np.int64)

    def members(self, space: int) -> Ints:
        """The models of one space, best first; of space S: those without label names."""
        return np.arange(self.models[space], self.models[space + 1])

    def save(self, folder: Path) -> None:
        """One ``.npy`` file an array, in ``folder``, which must exist."""
        for name, array in self._arrays().items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> LabelIndex:
        """What ``save`` wrote, memory-mapped. Raises ``OSError`` or ``ValueError`` where a file is
        missing or torn.
        """

        def read(name: str) -> npt.NDArray[np.generic]:
            file = folder / f"{name}.npy"
            array: npt.NDArray[np.generic] = np.load(file, allow_pickle=False)
            return np.load(file, mmap_mode="r", allow_pickle=False) if array.size else array

        found: dict[str, object] = {}
        for part in fields(cls):
            if part.type in ("Lists", "Texts"):
                kind, first = (Lists, "flat") if part.type == "Lists" else (Texts, "body")
                found[part.name] = kind(read(f"{part.name}.{first}"), read(f"{part.name}.starts"))  # type: ignore[arg-type]
            else:
                found[part.name] = read(part.name)
        return cls(**found)  # type: ignore[arg-type]

    def _arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        found: dict[str, npt.NDArray[np.generic]] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            inner = (
                {f"{part.name}.{f.name}": getattr(value, f.name) for f in fields(value)}
                if hasattr(value, "starts")
                else None
            )
            found |= inner or {part.name: value}
        return found
