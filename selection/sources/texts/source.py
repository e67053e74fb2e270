"""Texts in memory as a source of samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from selection.kinds.kind import CorruptSample
from selection.sources.split import Rows


class TextSource:
    """Texts of a table or of files, handed out as UTF-8.

    ``names`` are what messages call them; by default ``origin`` and the place among the texts.
    """

    def __init__(
        self,
        texts: Sequence[str],
        origin: str,
        names: Sequence[str] = (),
    ) -> None:
        self._texts = list(texts)
        self._origin, self._names = origin, list(names)

    def __len__(self) -> int:
        return len(self._texts)

    def raw(self, row: int) -> bytes:
        """The text as UTF-8; half a surrogate pair becomes a question mark."""
        return self._texts[row].encode("utf-8", "replace")

    def name(self, row: int) -> str:
        return self._names[row] if self._names else f"{self._origin}#{row}"

    def stamp(self, rows: Rows) -> Iterator[bytes]:
        """Every text counts: they are small."""
        digest = hashlib.sha256()
        for row in rows.tolist():
            encoded = self.raw(row)
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
        yield digest.digest()


def as_text(encoded: bytes) -> str:
    """A text of ``TextSource``; ``CorruptSample`` for bytes that are none."""
    try:
        return encoded.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptSample(f"no text in UTF-8: {error.reason}") from error
