"""The letters of a file of texts, and what encoding they were written in."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from selection.sources.tables.text import read_text
from zoo.errors import UserError


class MixedEncodings(UserError):
    """Some lines of a file are UTF-8, and some are not."""


_LOOKED_AT = 10_000  # letters that tell whether a file is text
_MOST_STRANGE = 0.02  # share of them that no terminal prints
_SHOWN = 60  # characters of a line in a message


def decoded(path: Path, warnings: list[str]) -> str:
    """The text of a file in UTF-8 or UTF-16; other encodings are taken for Windows' Latin letters,
    which is said.

    ``UserError`` for a file that is no text, or in which some lines are UTF-8 and some are not.
    """
    text = read_text(path)
    strange = sum(unicodedata.category(letter) == "Cc" for letter in text[:_LOOKED_AT])
    strange -= sum(text[:_LOOKED_AT].count(letter) for letter in "\t\n\r\f")
    if strange > _MOST_STRANGE * len(text[:_LOOKED_AT]):
        raise UserError(f"{path} is no text file: {strange} of its letters cannot be printed")
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or raw[1:2] == b"\0" or _is_utf8(raw):
        return text
    lines = raw.splitlines()
    foreign = [number for number, line in enumerate(lines, start=1) if not _is_utf8(line)]
    utf8 = [line for line in lines if not line.isascii() and _is_utf8(line)]
    if utf8:
        shown = lines[foreign[0] - 1].decode("latin-1")[:_SHOWN]
        raise MixedEncodings(
            f"{path}: line {foreign[0]} ({shown!r}) is not in UTF-8, {len(utf8)} others are: two"
            " encodings in one file; write all of it in UTF-8"
        )
    warnings.append(
        f"{path.name} is not in UTF-8 and is read as Windows-1252; if letters look wrong, write it"
        " in UTF-8"
    )
    return text


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
