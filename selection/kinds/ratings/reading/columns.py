"""Which columns of a table hold users, items, ratings and times: their names tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from selection.sources.tables.columns import is_image_name, listed, named_column
from selection.sources.texts.table import is_text_name
from zoo.errors import UserError

_USER_NAMES_TEXT = """
    user userid uid useridx userindex username userno usernumber reviewerid reviewer customerid
    customer memberid member visitorid visitor accountid account playerid player listenerid listener
    readerid reader viewerid viewer
"""
_ITEM_NAMES_TEXT = """
    item itemid iid itemidx itemindex itemno parentasin asin movieid movie filmid film productid
    product bookid book isbn songid song trackid track artistid artist albumid album gameid game
    articleid article newsid businessid business recipeid recipe animeid anime beerid beer
    restaurantid restaurant jokeid joke placeid place courseid course
"""
_RATING_NAMES_TEXT = """
    rating ratings overall score stars star starrating userrating itemrating movierating bookrating
    ratingvalue ratingscore rate grade preference plays playcount weight
"""
_TIME_NAMES_TEXT = """
    timestamp unixreviewtime unixtime unixtimestamp epoch ts time datetime date ratedat ratingtime
    ratingtimestamp reviewtime reviewdate createdat eventtime submitted
"""
USER_NAMES = tuple(_USER_NAMES_TEXT.split())  # the first that a table has is read
ITEM_NAMES = tuple(_ITEM_NAMES_TEXT.split())
RATING_NAMES = tuple(_RATING_NAMES_TEXT.split())
TIME_NAMES = tuple(_TIME_NAMES_TEXT.split())
_CLASS_NAMES = {"label", "labels", "class", "target"}
_STEMS = {"ratings", "rating", "interactions", "interaction"}


@dataclass(frozen=True)
class RatingColumns:
    """The names of the columns of a table of ratings; None where it has no such column."""

    user: str
    item: str
    rating: str | None
    time: str | None

    @property
    def names(self) -> list[str]:
        """Those that there are."""
        return [name for name in (self.user, self.item, self.rating, self.time) if name is not None]


def plain(name: str) -> str:
    """A column's name in small letters and digits; ``user_id:token`` (RecBole) is ``userid``."""
    return re.sub(r"[^a-z0-9]", "", name.partition(":")[0].lower())


def column_of(present: Sequence[str], names: Sequence[str]) -> str | None:
    """The column of ``present`` whose plain name comes first in ``names``."""
    known = {plain(name): name for name in reversed(present)}
    return next((known[name] for name in names if name in known), None)


def rating_columns(
    path: Path, present: Sequence[str], named: str | None = None
) -> RatingColumns | None:
    """The columns of users, items, ratings and times of the table ``path``.

    ``named`` is the column of ratings where the user names it. None where ``present`` are not the
    columns of ratings; ``UserError`` where the file is called ratings and they are not.
    """
    user, item = column_of(present, USER_NAMES), column_of(present, ITEM_NAMES)
    rating = column_of(present, RATING_NAMES)
    if user is None or item is None:
        if is_called_ratings(path):
            raise _no_column(path, present, "items" if user is not None else "users")
        return None
    if named is not None:
        if not is_called_ratings(path) and named not in present:
            return None
        rating = named_column(named, present, "--label-column", str(path))
    others = [name for name in present if name not in (user, item, rating)]
    shows = any(is_text_name(name) or is_image_name(name) for name in others)
    labelled = any(plain(name) in _CLASS_NAMES for name in others)
    is_another_kind = labelled or rating is None or named is not None
    if not is_called_ratings(path) and shows and is_another_kind:
        return None
    return RatingColumns(user, item, rating, column_of(present, TIME_NAMES))


def is_called_ratings(path: Path) -> bool:
    """Whether the name of a file says that it holds ratings."""
    stem = path.name.partition(".")[0].lower()
    return stem in _STEMS or path.name.lower() == "u.data"


def _no_column(path: Path, present: Sequence[str], missing: str) -> UserError:
    if all(re.fullmatch(r"-?\d+(\.\d+)?", name.strip()) for name in present):
        return UserError(
            f"{path} has no first row that names its columns (it begins {', '.join(present[:4])});"
            " write user,item,rating,timestamp above it"
        )
    name = "user" if missing == "users" else "item"
    return UserError(
        f"{path} has no column of {missing} (it has: {listed(present)}); call it {name!r}"
    )
