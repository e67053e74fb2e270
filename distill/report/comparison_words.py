"""What a comparison says first, and what its columns mean, for the terminal and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.terminal.command import printable

if TYPE_CHECKING:
    from distill.comparison import Comparison, MethodResult


def best_method(comparison: Comparison) -> MethodResult | None:
    """The finished method that the deciding figure says is best on validation, plain aside."""
    finished = [
        line for line in comparison.lines if line.method != "plain" and line.deciding is not None
    ]
    return max(finished, key=lambda line: line.deciding or 0.0, default=None)


def headline(comparison: Comparison) -> str:
    """Whether the teachers help, by how much, and what to do next."""
    best = best_method(comparison)
    if best is None or best.lift is None:
        return (
            "Not known yet whether the teachers help: no method with teachers is finished beside"
            " plain. The same command goes on."
        )
    seeds = f"{len(best.seeds)} seed{'s' if len(best.seeds) > 1 else ''}"
    lift = (
        f"{printable(best.method, 80)}, the best method on validation, changes the"
        f" {figure_name(comparison)} on test by {best.lift.as_points(sign=True)} points, compared"
        f" with training without teachers ({seeds})"
    )
    if best.lift.low > 0:
        return f"The teachers help: {lift}."
    if best.lift.high < 0:
        return f"The teachers do harm here: {lift}. Use the student that was trained plainly."
    return f"Too close to call whether the teachers help: {lift}. More seeds may tell (--seeds 3)."


def figure_name(comparison: Comparison) -> str:
    """The figure that decides, in words."""
    return comparison.figure.replace("_", " ")


def column_meanings(comparison: Comparison) -> list[tuple[str, str]]:
    """A head of ``distill.comparison.COLUMNS`` and its sentence, each."""
    (name, share), nouns = comparison.commonest, comparison.kind.nouns
    return [
        (
            "validation %",
            f"right answers on the validation {nouns}, which say which method is best",
        ),
        (
            "test %",
            f"right answers on the test {nouns}; always saying {printable(name, 40)!r} gets"
            f" {100 * share:.1f} %",
        ),
        (
            "balanced %",
            "the same, counted class by class and averaged; guessing gets"
            f" {100 / len(comparison.classes):.1f} %",
        ),
        (
            "lift, points",
            f"points of {figure_name(comparison)} on test above plain; in brackets its 95 %"
            f" interval over seeds and {nouns}",
        ),
        (
            "gap recovered %",
            "of the way from plain to the best teacher's own head; no gap: that teacher is not"
            " clearly better than plain",
        ),
    ]
