"""Tables of items: a text and a title of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selection.kinds.ratings.reading.columns import ITEM_NAMES, USER_NAMES, column_of, plain
from selection.kinds.ratings.reading.frames import SUFFIXES, column_names, read_frame
from selection.kinds.ratings.reading.ids import coded
from selection.sources.tables.columns import listed, words
from zoo.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_STEMS_TEXT = """
    items item movies movie films products product books book songs tracks artists albums games
    articles news anime recipes businesses metadata meta iteminfo
"""
_STEMS = tuple(_STEMS_TEXT.split())
_TITLES = (
    *("title", "itemname", "name", "movietitle", "itemtitle", "producttitle", "productname"),
    *("booktitle", "moviename", "songtitle", "trackname", "gamename"),
)
_NO_TEXT = {"url", "urls", "link", "links", "image", "images", "img", "poster", "id", "path"}
_YEAR = re.compile(r"\s*(\d{4})(\.0)?\s*")
_SAMPLE = 100  # cells that tell what a column holds


@dataclass(frozen=True)
class ItemTexts:
    """What a file says of items, by id.

    origin  the file's name; empty where there is none
    texts   what teachers are shown
    titles  short names for people
    """

    origin: str
    texts: dict[str, str]
    titles: dict[str, str]


def items_beside(ratings: Path, warnings: list[str]) -> ItemTexts:
    """The items of the file beside ``ratings`` whose name says so, or its columns alone do."""
    others = []
    for path in _tables_beside(ratings):
        is_named = _place(path) < len(_STEMS)
        names = (*ITEM_NAMES, "id") if is_named else ITEM_NAMES
        try:
            present = column_names(path)
        except UserError:
            if is_named:
                raise
            continue
        item = column_of(present, names)
        if item is not None and is_named:
            return read_items(path, item, warnings)
        if _place(path) < 2:
            raise UserError(
                f"{path} has no column of items (it has: {listed(present)}); call it 'item'"
            )
        if item is not None and column_of(present, USER_NAMES) is None:
            others.append((path, item))
    if len(others) == 1:
        return read_items(*others[0], warnings)
    warnings.append(
        f"no items.csv, .jsonl or .parquet lies beside {ratings.name}: teachers are shown the ids"
        " of the items alone; give it the columns item and title to have them read"
    )
    return ItemTexts("", {}, {})


def _tables_beside(ratings: Path) -> list[Path]:
    """Other tables in the folder of ``ratings``, those that are called after items first."""
    files = [
        path
        for path in sorted(ratings.parent.iterdir())
        if path != ratings and path.suffix.lower() in SUFFIXES
    ]
    return sorted(files, key=_place)


def _place(path: Path) -> int:
    """The place of a file's name among those of items."""
    stem = plain(path.name.partition(".")[0])
    if path.suffix.lower() == ".item":
        stem = "items"
    return _STEMS.index(stem) if stem in _STEMS else len(_STEMS)


def read_items(path: Path, item: str, warnings: list[str]) -> ItemTexts:
    """The texts of the items in ``path``, whose ids stand in the column ``item``."""
    frame = read_frame(path)
    codes, ids = coded(frame[item])
    frame = frame[codes >= 0]
    codes = codes[codes >= 0]
    names = [name for name in frame.columns if name != item and _is_text(name, frame[name])]
    title = column_of(names, _TITLES) or next(iter(names), None)
    years = [name for name in frame.columns if name != title and _is_year(name, frame[name])]
    texts, titles = dict[str, str](), dict[str, str]()
    repeated = 0
    others = [_cells(frame[name]) for name in names if name not in (title, *years)]
    named = _cells(frame[title]) if title is not None else [""] * len(frame)
    year = _cells(frame[years[0]]) if years else [""] * len(frame)
    for row, code in enumerate(codes.tolist()):
        name = ids[code]
        if name in texts:
            repeated += 1
            continue
        titles[name] = named[row]
        texts[name] = _joined(named[row], year[row], [cells[row] for cells in others])
    if repeated:
        warnings.append(f"{repeated} rows of {path.name} list an item again: its first row counts")
    if not names:
        warnings.append(
            f"{path.name} has no column of texts (it has: {listed(list(frame.columns))}): teachers"
            " are shown the ids of the items alone"
        )
    return ItemTexts(path.name, texts, titles)


def _joined(title: str, year: str, others: Sequence[str]) -> str:
    match = _YEAR.fullmatch(year)
    dated = f"{title} ({match[1]})" if match and title and match[1] not in title else title
    return ". ".join(part for part in (dated, *others) if part)


def _cells(column: pd.Series) -> list[str]:
    return [_text(value) for value in column.tolist()]


def _text(value: Any) -> str:
    """A cell in words: lists by commas, ``Action|Drama`` too; empty where nothing stands."""
    if isinstance(value, str):
        written = value.strip()
        if written.startswith("[") and written.endswith("]"):
            written = re.sub(r"""['"\[\]]""", "", written)
        return "" if written.lower() in ("nan", "none", "null") else ", ".join(written.split("|"))
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(_text, value)))
    return "" if value is None or value != value or isinstance(value, dict | bytes) else str(value)


def _is_text(name: str, column: pd.Series) -> bool:
    """Whether a column says something of an item in words."""
    if _NO_TEXT & set(words(name)):
        return False
    values = [
        value for value in column.head(_SAMPLE).tolist() if not isinstance(value, int | float)
    ]
    texts = [text for text in map(_text, values) if text]
    numbers = sum(bool(re.fullmatch(r"[-\d.,:/ ]+", text)) for text in texts)
    links = sum(text.lower().startswith(("http:", "https:")) for text in texts)
    return bool(texts) and 2 * (numbers + links) < len(texts)


def _is_year(name: str, column: pd.Series) -> bool:
    values = [_text(value) for value in column.head(_SAMPLE).tolist()]
    known = [value for value in values if value]
    return "year" in words(name) and bool(known) and all(map(_YEAR.fullmatch, known))
