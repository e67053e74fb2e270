"""Tasks of texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from selection.duplicates.wordings import find_copies
from selection.kinds.kind import Decoding, Kind, Preview, TaskContent
from selection.sources.split import Source, Split
from selection.sources.tables.columns import Columns
from selection.sources.texts.folder import read_texts, texts_of_pool
from selection.sources.texts.source import as_text

_SHOWN = 300  # characters of a text on a page


def _decode(encoded: bytes, decoding: Decoding | None) -> str:
    return as_text(encoded)


def _no_decoding(split: Split) -> None:
    return None


def _preview(text: str) -> Preview:
    shown = " ".join(text.split())
    return Preview(text=shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…")


def _pool(
    path: Path, sources: Sequence[Source], columns: Columns, warnings: list[str]
) -> TaskContent:
    return TaskContent({}, [texts_of_pool(path, columns, warnings)])


def _equal(texts: Sequence[str]) -> str | None:
    return "equal" if all(text == texts[0] for text in texts) else None


TEXT = Kind(
    name="text",
    noun="text",
    nouns="texts",
    content="wording",
    read=read_texts,
    read_pool=_pool,
    pool_in_files=True,
    expected=(
        "expected a CSV, TSV, JSONL or Parquet file with a column of texts (--text-column) and one"
        " of labels, such files named train and test in a folder, or class folders of .txt files"
    ),
    first_student="",
    calibrated=False,
    modalities=("text",),
    crawl="--pipeline-tag sentence-similarity",
    ordered=False,
    decode=_decode,
    show=_decode,
    shown_as="text",
    decoding_of=_no_decoding,
    find_copies=find_copies,
    preview=_preview,
    equal=_equal,
)
