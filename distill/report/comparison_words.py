"""What a comparison says first, and what its columns mean, for the terminal and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.terminal.command import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distill.comparison import Comparison, MethodResult, TeacherFigures
    from distill.training.figures import Figure

GAP = "gap recovered %"


def best_method(comparison: Comparison) -> MethodResult | None:
    """The finished method that the deciding figure says is best on validation, plain aside."""
    finished = [
        line for line in comparison.lines if line.method != "plain" and line.deciding is not None
    ]
    sign = 1 if comparison.figure.higher_is_better else -1
    return max(finished, key=lambda line: sign * (line.deciding or 0.0), default=None)


def headline(comparison: Comparison) -> str:
    """Whether the teachers help, by how much, and what to do next."""
    best = best_method(comparison)
    if best is None or best.lift is None:
        return (
            "Not known yet whether the teachers help: no method with teachers is finished beside"
            " plain. The same command goes on."
        )
    seeds = f"{len(best.seeds)} seed{'s' if len(best.seeds) > 1 else ''}"
    figure = comparison.figure
    changes = "changes" if figure.higher_is_better else "improves"
    lift = (
        f"{printable(best.method, 80)}, the best method on validation, {changes} the"
        f" {figure.words} on test by {figure.text(best.lift, sign=True)}{_points(figure)},"
        f" compared with training without teachers ({seeds})"
    )
    if best.lift.low > 0:
        return f"The teachers help: {lift}."
    if best.lift.high < 0:
        return f"The teachers do harm here: {lift}. Use the student that was trained plainly."
    return f"Too close to call whether the teachers help: {lift}. More seeds may tell (--seeds 3)."


def _points(figure: Figure) -> str:
    return " points" if figure.percent else ""


def _points_of(figure: Figure) -> str:
    return "points of " if figure.percent else ""


def heads(comparison: Comparison) -> list[str]:
    """The columns of the table of methods: the first figure on both splits, the others on test."""
    first, *others = comparison.figures
    return [
        "method",
        "seeds",
        f"validation {first.head}",
        f"test {first.head}",
        *(figure.column for figure in others),
        _lift_head(comparison.figure),
        GAP,
    ]


def optional_heads(comparison: Comparison) -> list[str]:
    """Those that may be left out where the table is too wide, the last one first."""
    spare = [f.column for f in comparison.figures[2:] if f is not comparison.figure]
    return [*spare, GAP]


def _lift_head(figure: Figure) -> str:
    return "lift, points" if figure.percent else f"lift, {figure.head}"


def cells_of(line: MethodResult, comparison: Comparison) -> list[str]:
    """The cells of a method's row after its name, as text."""
    seeds = f"{len(line.seeds)} of {len(line.seeds) + len(line.missing)}"
    first, *others = comparison.figures
    if not line.finished:
        empty = [""] * (len(others) + 3)
        return ["" if line.same_as else seeds, line.state, *empty]
    return [
        seeds,
        _number(first, line.validation),
        _number(first, line.test),
        *(_number(figure, line.test) for figure in others),
        comparison.figure.text(line.lift, sign=True) if line.lift else "",
        _gap_recovered(line, comparison),
    ]


def teacher_cells(teacher: TeacherFigures, comparison: Comparison) -> list[str]:
    """The cells of a teacher's head under the heads of the figures; empty where unknown."""
    first, *others = comparison.figures
    on_test = {f.name: f.value(teacher.test) for f in (first, *others) if f.known(teacher.test)}
    return [
        _number(first, teacher.validation),
        _number(first, on_test),
        *(_number(figure, on_test) for figure in others),
    ]


def _number(figure: Figure, values: Mapping[str, float]) -> str:
    value = values.get(figure.name)
    return "" if value is None else figure.number(value)


def _gap_recovered(line: MethodResult, comparison: Comparison) -> str:
    if line.recovered:
        return line.recovered.as_points()
    best = comparison.best_teacher
    if line.lift is None or best is None or comparison.figure.known(best.test):
        return "no gap" if line.lift else ""
    return "unknown"


def column_meanings(comparison: Comparison) -> list[tuple[str, str]]:
    """A head of the table and its sentence, each."""
    nouns, figure = comparison.kind.nouns, comparison.figure
    first, *others = comparison.figures
    lift = f"how much lower the {figure.words} on test is than that of plain"
    if figure.higher_is_better:
        lift = f"{_points_of(figure)}{figure.words} on test above plain"
    always = ""
    if comparison.commonest is not None:
        name, value = comparison.commonest
        always = f"; always saying {printable(name, 40)!r} gets {first.shown(value)}"
    return [
        (
            f"validation {first.head}",
            f"{first.meaning} on the validation {nouns}, which say which method is best",
        ),
        (f"test {first.head}", f"{first.meaning} on the test {nouns}{always}"),
        *((other.column, _meaning(other, comparison)) for other in others),
        (
            _lift_head(figure),
            f"{lift}; in brackets its 95 % interval over seeds and {figure.units or nouns}",
        ),
        (
            GAP,
            "of the way from plain to the best teacher's own head; no gap: that teacher is not"
            " clearly better than plain",
        ),
    ]


def _meaning(figure: Figure, comparison: Comparison) -> str:
    if figure.chance is None:
        return figure.meaning
    return f"{figure.meaning}; guessing gets {figure.shown(figure.chance(len(comparison.classes)))}"
