"""Tasks of ratings: pairs of a user and an item, in classes that have an order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selection.kinds.kind import CopyGroups, Decoding, Kind, Preview, TaskContent
from selection.kinds.ratings.join import OWN_TEACHERS, complete
from selection.kinds.ratings.reading.folder import read_ratings
from selection.kinds.ratings.table import PairSource, RatingsTable, pair_of, text_of
from selection.sources.split import Source, Split
from selection.sources.tables.columns import Columns
from zoo.errors import UserError

_SHOWN = 300  # characters of a text on a page


def _decode(encoded: bytes, decoding: Decoding | None) -> tuple[int, int]:
    return pair_of(encoded)


def _show(encoded: bytes, decoding: Decoding | None) -> str:
    return text_of(encoded)


def _shown_fingerprint(encoded: bytes, decoding: Decoding | None) -> bytes:
    """Of the item's text alone: teachers are asked once about an item that many users rated."""
    return hashlib.sha256(text_of(encoded).encode("utf-8", "replace")).digest()


def _table(split: Split) -> RatingsTable:
    assert isinstance(split.source, PairSource)
    return split.source.table


def _extent(train: Split) -> str:
    table = _table(train)
    return f"{len(table.user_ids):,} users, {len(table.item_ids):,} items"


def _no_copies(splits: Mapping[str, Split]) -> CopyGroups:
    return CopyGroups({name: np.full(len(split), -1) for name, split in splits.items()}, {})


def _preview(text: str) -> Preview:
    shown = " ".join(text.split())
    return Preview(text=shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…")


def _no_pool(
    path: Path, sources: Sequence[Source], columns: Columns, warnings: list[str]
) -> TaskContent:
    raise UserError(
        f"the unlabelled pairs: {path} is not read; pairs that nobody rated are drawn for tasks of"
        " ratings, and rows without a rating in the file of ratings are used too"
    )


def _never_equal(samples: Sequence[Any]) -> None:
    """Pairs differ in their users where their items are shown alike."""


RATINGS = Kind(
    name="ratings",
    noun="pair",
    nouns="pairs",
    content="pair",
    read=read_ratings,
    read_pool=_no_pool,
    pool_in_files=True,
    expected=(
        "expected ratings.csv, .tsv, .jsonl or .parquet with the columns user and item, and rating"
        " and timestamp where there are such, and items.csv with item and title beside it"
    ),
    first_student="",
    calibrated=False,
    modalities=("text", "ratings"),
    crawl="--pipeline-tag sentence-similarity",
    ordered=True,
    decode=_decode,
    show=_show,
    shown_as="item",
    decoding_of=_table,
    find_copies=_no_copies,
    preview=_preview,
    equal=_never_equal,
    fingerprint=_shown_fingerprint,
    complete=complete,
    parts="items",
    extent=_extent,
    on_hub=False,
    own_teachers=OWN_TEACHERS,
)
