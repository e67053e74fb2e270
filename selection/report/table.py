"""The ranking as a terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence

from selection.ranking import Ranking, Row
from selection.report.legend import (
    BALANCED,
    INTERVAL,
    KNN,
    LICENCE,
    PARAMETERS,
    SCORE,
    SECONDS,
    TIE,
    meanings,
)
from selection.report.verdict import listed, steps, verdict
from zoo.terminal.command import printable
from zoo.terminal.table import (
    Column,
    legend,
    paragraph,
    print_table,
    short_count,
    terminal_width,
)

_WORST = 3  # classes that are named


def show(
    ranking: Ranking,
    *,
    command: str = "",
    saved: bool = True,
) -> None:
    """Print the ranking to stdout: what to do, the table with its legend, then the details.

    ``command`` trains a student next; ``saved`` says that the ranking was written to a file.
    """
    ranked = [row for row in ranking.rows if row.value is not None]
    width = terminal_width()
    for sentence in verdict(ranking):
        print(paragraph(sentence, width=width))
    if command:
        for words, line in steps(ranking, command, saved=saved):
            print(paragraph(words, width=width))
            print(f"  {line}")
    print()
    _print_rows(ranking)
    for row in ranking.rows[len(ranked) :]:
        failed = f"failed: {printable(row.model, 200)}: {printable(row.error or '', 300)}"
        print(paragraph(failed, width=width))
    print()
    for line in [*class_lines(ranking), *_details(ranking)]:
        print(paragraph(line, width=width))


def cells_of(ranking: Ranking) -> tuple[list[Column], list[list[str]]]:
    """The columns of the table, and the cells of the models that were ranked, best first."""
    ranked = [row for row in ranking.rows if row.value is not None]
    scores = sorted({name for row in ranked for name in row.scores} - {"knn", ranking.score})
    columns = _columns(ranking, scores, with_sizes=len(ranking.finalists) < len(ranked))
    nouns = ranking.kind.nouns
    rows = [
        [_cell(column.head, place, row, nouns) for column in columns]
        for place, row in enumerate(ranked, start=1)
    ]
    return columns, rows


def _print_rows(ranking: Ranking) -> None:
    """The finalists, and below them the models that fell behind in an earlier round."""
    finalists = len(ranking.finalists)
    columns, rows = cells_of(ranking)
    left_out = print_table(columns, rows[:finalists])
    if finalists < len(rows):
        print(
            f"\nfell behind in an earlier round, on fewer {ranking.kind.nouns} (not to be compared"
            " with the values above)"
        )
        left_out += [
            head for head in print_table(columns, rows[finalists:]) if head not in left_out
        ]
    width = terminal_width()
    explained = [(column.head, column.meaning) for column in columns if column.meaning]
    print("\ncolumns")
    print(legend([pair for pair in explained if pair[0] not in left_out], width=width))
    if left_out:
        print(
            paragraph(
                f"left out for width: {', '.join(left_out)}; a wider terminal shows them, and so"
                " does --format csv",
                width=width,
            )
        )


def _columns(ranking: Ranking, scores: Sequence[str], *, with_sizes: bool) -> list[Column]:
    """The columns, those of least use last."""
    sentences = meanings(ranking)
    heads = [SCORE, INTERVAL, TIE, KNN]
    if ranking.uneven:
        heads.append(BALANCED)
    if with_sizes:
        heads.append(ranking.kind.nouns)
    optional = [PARAMETERS, LICENCE, *scores, SECONDS]
    return [
        Column("", is_number=True),
        Column("model", is_name=True),
        *(Column(head, is_number=True, meaning=sentences[head]) for head in heads),
        *(
            Column(
                head,
                is_number=head != LICENCE,
                optional=True,
                meaning=sentences[head],
            )
            for head in optional
        ),
    ]


def _cell(head: str, place: int, row: Row, nouns: str) -> str:
    dash = " – " if (row.low or 0) < 0 else "–"
    cells = {
        "": str(place),
        "model": printable(row.model, 200),
        SCORE: _number(row.value),
        INTERVAL: f"{_number(row.low)}{dash}{_number(row.high)}",
        TIE: letter(row.group),
        KNN: _percent(row.knn),
        BALANCED: _percent(row.knn_balanced),
        nouns: str(row.probe_size or "-"),
        PARAMETERS: short_count(row.params_total),
        LICENCE: printable(row.license or "unknown", 40),
        SECONDS: "-" if row.seconds is None else f"{row.seconds:.1f}",
    }
    return cells[head] if head in cells else _number(row.scores.get(head))


def summary(ranking: Ranking) -> str:
    """How the choice came about, in a line: models known, probed, chosen, too close to call."""
    counts = ranking.candidates
    parts = []
    if "known" in counts:
        parts.append(f"{counts['known']:,} in the catalogue")
        parts.append(f"{counts['loadable']:,} can be loaded")
    if counts.get("touched") is not None:
        parts.append(f"{counts['touched']:,} touched by label names")
    if "probed" in counts:
        rounds = len(counts.get("rounds", ()))
        in_rounds = f" in {rounds} rounds" if rounds > 1 else ""
        parts.append(f"{counts['probed']:,} probed{in_rounds}")
    parts.append(f"committee of {len(ranking.committee)}" if ranking.committee else "no committee")
    tied = [row.model for row in ranking.finalists if row.group == 1]
    if len(tied) > 1:
        parts.append(f"{listed(tied)} too close to call")
    return "; ".join(parts)


def class_lines(ranking: Ranking) -> list[str]:
    """The classes that the first model recognises worst, where the classes are uneven."""
    best = ranking.finalists[0] if ranking.finalists else None
    if not ranking.uneven or best is None or best.knn_by_class is None:
        return []
    return [
        f"worst classes of the first model by knn (share right, of so many {ranking.kind.nouns}):"
        f" {_worst(ranking, best.knn_by_class)}"
    ]


def _worst(ranking: Ranking, shares: Sequence[float | None]) -> str:
    """The classes that are recognised worst, with their probe samples."""
    counted = zip(
        ranking.classes,
        shares,
        ranking.probe["images"],
        strict=True,
    )
    known = [(share, name, count) for name, share, count in counted if share is not None]
    return ", ".join(
        f"{printable(name, 40)!r} {_percent(share)} of {count}"
        for share, name, count in sorted(known)[:_WORST]
    )


def left_unprobed(ranking: Ranking) -> str | None:
    """Why models that could be loaded were not probed, or ``None`` where all were."""
    reasons = {
        "limit": "beyond the shortlist",
        "budget": "for want of time",
        "budget_gb": "for their download",
    }
    left = ranking.candidates.get("left_out", {})
    parts = [f"{left[name]:,} {words}" for name, words in reasons.items() if left.get(name)]
    return f"left unprobed: {', '.join(parts)}" if parts else None


def _details(ranking: Ranking) -> list[str]:
    names = ", ".join(printable(name, 200) for name in ranking.committee)
    why = ranking.committee_reasons.get("sentence", "" if names else "none")
    parts = [names, printable(why, 300)]
    return [
        f"committee: {'; '.join(part for part in parts if part)}",
        summary(ranking),
        *filter(None, [left_unprobed(ranking)]),
    ]


def letter(group: int | None) -> str:
    """1 -> a, 2 -> b ...: models that share a letter are too close to call; beyond z the number
    itself.
    """
    if group is None:
        return "–"
    return chr(ord("a") + group - 1) if 1 <= group <= 26 else str(group)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"
