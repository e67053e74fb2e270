"""The rows of files of ratings: who rated what, how and when, each pair once."""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from selection.kinds.ratings.reading.columns import RatingColumns
from selection.kinds.ratings.reading.frames import read_frame
from selection.kinds.ratings.reading.ids import Coded, coded
from zoo.errors import UserError
from zoo.terminal.command import printable

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MEND_RATING = "write numbers, or leave the cell empty where there is no rating"
_FIELDS = ("user", "item", "rating", "time")


@dataclass(frozen=True, eq=False)
class Interactions:
    """n pairs of a user and an item, each once.

    origin   the file, or the folder, that they come from
    users    (n,) places among ``user_ids``; items (n,) likewise
    ratings  (n,), NaN for a pair that is named without one; None: implicit feedback
    times    (n,) in any unit, or None
    splits   (n,) the split of each pair as the user's files have it; None: one file
    """

    origin: Path
    users: Ints
    items: Ints
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    ratings: Floats | None
    times: Floats | None
    splits: npt.NDArray[np.str_] | None


def read_interactions(
    origin: Path,
    files: Mapping[str, Sequence[tuple[Path, RatingColumns]]],
    warnings: list[str],
) -> Interactions:
    """The pairs in ``files``, by split name; the name is empty where there is one file.

    ``UserError`` where they cannot be used.
    """
    frame = _frame(files)
    if not len(frame):
        raise UserError(f"{origin} holds no ratings; expected rows of user, item and rating")
    users, items = coded(frame["user"]), coded(frame["item"])
    named = (users.codes >= 0) & (items.codes >= 0)
    _say_unnamed(origin, users, items, warnings)
    ratings = _ratings(frame["rating"], origin) if "rating" in frame else None
    times = _times(frame["time"], origin, warnings) if "time" in frame else None
    pairs = users.codes * max(1, len(items.ids)) + items.codes
    has_rating = np.ones(len(frame), bool) if ratings is None else np.isfinite(ratings)
    rows = _once(pairs, has_rating, times, np.flatnonzero(named), frame["split"])
    repeated = int(named.sum()) - len(rows)
    if repeated:
        which = "the last one counts" if times is not None else "the last row counts"
        warnings.append(
            f"{repeated:,} ratings of {origin.name} are of pairs that occur again: {which}"
        )
    interactions = Interactions(
        origin,
        users.codes[rows],
        items.codes[rows],
        users.ids,
        items.ids,
        None if ratings is None else ratings[rows],
        None if times is None else times[rows],
        None if "" in files else frame["split"].to_numpy()[rows].astype(str),
    )
    _check(interactions)
    return interactions


def _frame(files: Mapping[str, Sequence[tuple[Path, RatingColumns]]]) -> pd.DataFrame:
    """The rows of all files, with the columns user, item, split and those that all files have."""
    import pandas as pd

    frames = []
    for split, tables in files.items():
        for path, columns in tables:
            named = (columns.user, columns.item, columns.rating, columns.time)
            frame = read_frame(path, columns.names)
            frame = frame.rename(
                columns={
                    name: field
                    for name, field in zip(named, _FIELDS, strict=True)
                    if name is not None
                }
            )
            frames.append(frame.assign(split=split))
    if len(frames) == 1:
        return frames[0]
    shared = set.intersection(*(set(frame.columns) for frame in frames))
    kept = [name for name in (*_FIELDS, "split") if name in shared]
    return pd.concat([frame[kept].astype(object) for frame in frames], ignore_index=True)


def _say_unnamed(origin: Path, users: Coded, items: Coded, warnings: list[str]) -> None:
    counts = {
        "user": int((users.codes < 0).sum()),
        "item": int(((items.codes < 0) & (users.codes >= 0)).sum()),
    }
    missing = [f"{count:,} rows without {name}" for name, count in counts.items() if count]
    if missing:
        warnings.append(f"{' and '.join(missing)} in {origin.name} are not used")


def _ratings(column: pd.Series, origin: Path) -> Floats:
    """(n,) ratings, NaN where a cell is empty."""
    import pandas as pd

    numbers = pd.to_numeric(_filled(column), errors="coerce").to_numpy(dtype=np.float64)
    present = _filled(column).notna().to_numpy()
    wrong = np.flatnonzero(present & np.isnan(numbers))
    if len(wrong):
        cell = printable(str(column.iloc[wrong[0]]), 40)
        raise UserError(
            f"{origin}: {len(wrong):,} of {len(numbers):,} ratings are no numbers (row"
            f" {wrong[0] + 1}: {cell!r}); {_MEND_RATING}"
        )
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        raise UserError(
            f"{origin}: {len(infinite):,} of {len(numbers):,} ratings are infinite (row"
            f" {infinite[0] + 1}); {_MEND_RATING}"
        )
    return numbers


def _filled(column: pd.Series) -> pd.Series:
    """A column in which cells that say nothing are missing values."""
    if column.dtype.kind in "biuf":
        return column
    texts = column.astype("string").str.strip()
    return texts.mask(texts.str.lower().isin(["", "nan", "null", "none", "<na>"]))


def _times(column: pd.Series, origin: Path, warnings: list[str]) -> Floats | None:
    """(n,) times that can be compared; None, and a sentence, where no cell holds one."""
    import pandas as pd

    filled = column if column.dtype.kind == "M" else _filled(column)
    missing = filled.isna().to_numpy()
    if missing.all():
        warnings.append(f"the column of times of {origin.name} is empty and is not used")
        return None
    times: Floats
    if filled.dtype.kind == "M":
        times = filled.astype("int64").to_numpy().astype(np.float64)
    else:
        numbers = pd.to_numeric(filled, errors="coerce")
        known = numbers.notna().to_numpy() | missing
        times = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
        if not known.all():
            times = _dates(filled, origin)
    times = np.where(missing, -np.inf, times)
    if missing.any():
        warnings.append(
            f"{int(missing.sum()):,} ratings of {origin.name} have no time and count as the first"
        )
    return times


def _dates(texts: pd.Series, origin: Path) -> Floats:
    """(n,) nanoseconds of dates and times written in one of the ways that pandas reads."""
    import pandas as pd

    first: UserError | None = None
    for options in ({}, {"dayfirst": True}, {"format": "mixed"}):
        try:
            with python_warnings.catch_warnings():
                python_warnings.simplefilter("ignore")  # on dates whose format is guessed
                dates = pd.to_datetime(texts, utc=True, **options)
            times: Floats = dates.astype("int64").to_numpy().astype(np.float64)
            return times
        except (ValueError, OverflowError, TypeError):
            first = first or _no_time(texts, origin)
    assert first is not None
    raise first


def _no_time(texts: pd.Series, origin: Path) -> UserError:
    import pandas as pd

    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        parsed = pd.to_datetime(texts, utc=True, errors="coerce", format="mixed")
    wrong = np.flatnonzero(parsed.isna().to_numpy() & texts.notna().to_numpy())
    place = int(wrong[0]) if len(wrong) else 0
    return UserError(
        f"{origin}: the time {printable(str(texts.iloc[place]), 40)!r} (row {place + 1}) is neither"
        " a number nor a date; write seconds or dates such as 2024-05-31, or leave the column out"
    )


def _once(
    pairs: Ints,
    has_rating: npt.NDArray[np.bool_],
    times: Floats | None,
    rows: Ints,
    splits: pd.Series,
) -> Ints:
    """Of ``rows`` those that count, ascending: of each pair, in each split, the last rating."""
    names = {name: number for number, name in enumerate(dict.fromkeys(splits.tolist()))}
    split = splits.map(names).to_numpy()[rows]
    time = np.zeros(len(rows)) if times is None else times[rows]
    order = np.lexsort((rows, time, has_rating[rows], split, pairs[rows]))
    ordered = np.stack([pairs[rows][order], split[order]])  # (2, n)
    is_last = np.ones(len(rows), dtype=bool)
    is_last[:-1] = (ordered[:, 1:] != ordered[:, :-1]).any(0)
    kept: Ints = np.sort(rows[order[is_last]])
    return kept


def _check(interactions: Interactions) -> None:
    """Refuse pairs that nothing can be learnt from."""
    origin = interactions.origin
    for noun, codes in (("user", interactions.users), ("item", interactions.items)):
        count = len(np.unique(codes))
        if count < 2:
            raise UserError(
                f"{origin} holds ratings of {count or 'no'} {noun}{'' if count == 1 else 's'}; at"
                f" least two {noun}s are needed"
            )
    if interactions.ratings is None:
        return
    values = np.unique(interactions.ratings[np.isfinite(interactions.ratings)])
    if not len(values):
        raise UserError(
            f"{origin}: no row has a rating; leave the column out for implicit feedback"
        )
    if len(values) == 1:
        raise UserError(
            f"{origin}: all ratings are {values[0]:g}, one class; where a row only says that a user"
            " chose an item, leave the column of ratings out"
        )
