"""Plain values out of hostile JSON or YAML: a count, a fraction, a line of text, or ``None``."""

from __future__ import annotations

from typing import Any

from zoo.terminal.command import printable

Fields = dict[str, Any]  # of a ``ModelCard``
# what a value of an unexpected type or size raises
ODD_VALUES = (
    ValueError,
    TypeError,
    RecursionError,
    ArithmeticError,
    LookupError,
    AttributeError,
)
_LONGEST_TEXT = 200
_MOST_TEXTS = 200


def as_fraction(value: object) -> float | None:
    """``value`` as a fraction in [0, 1]; numbers above 1 are taken for percentages."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        return None
    return value / 100 if value > 1 else float(value)


def as_count(value: object) -> int | None:
    """``value`` as a count, ``None`` where it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 2**53 else None


def as_line(value: object) -> str | None:
    """``value`` as one short printable line that UTF-8 can hold, ``None`` where it is no text or
    empty.
    """
    if not isinstance(value, str):
        return None
    if len(value) <= _LONGEST_TEXT and value.isprintable():  # nearly all of the millions
        return value.strip() or None
    return printable(value[: 4 * _LONGEST_TEXT], _LONGEST_TEXT) or None


def first_line(values: object) -> str | None:
    """The first of a list of texts."""
    return as_line(values[0]) if isinstance(values, list) and values else None


def as_lines(value: object) -> tuple[str, ...] | None:
    """One text or a list of them as a tuple; anything else in it is left out; ``None`` where
    nothing remains.
    """
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    lines = [as_line(item) for item in items[:_MOST_TEXTS]]
    return tuple(line for line in lines if line) or None
