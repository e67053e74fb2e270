"""The ranking as a terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence

from selection.ranking import PACKAGED, Ranking, Row
from zoo.terminal.command import printable
from zoo.terminal.table import Column, print_table, short_count, terminal_width

_PIPE_WIDTH = 140  # characters a line, if stdout is a file or a pipe
_MAIN_WIDTH = 100  # characters of the table without further scores
_WORST = 3  # classes that are named
_SCORE_WIDTH = 8  # characters of one score in the table of further scores


def show(ranking: Ranking) -> None:
    """Print the ranking to stdout: best first, failed models last, then the committee."""
    ranked = [row for row in ranking.rows if row.value is not None]
    width = terminal_width() or _PIPE_WIDTH
    scores = sorted({name for row in ranked for name in row.scores} - {"knn", ranking.score})
    fits = sum(len(name) + 2 for name in scores) <= width - _MAIN_WIDTH
    _print_rows(ranking, ranked, scores if fits else [])
    if scores and not fits:
        _print_scores(scores, ranked[: max(1, (width - 46) // _SCORE_WIDTH)])
    for row in ranking.rows[len(ranked) :]:
        print(f"failed: {printable(row.model, 80)}: {printable(row.error or '', 300)}")
    for line in beside_knn(ranking):
        print(line)
    print(_closing(ranking))
    if sentence := expected(ranking):
        print(sentence)


def _print_rows(ranking: Ranking, ranked: Sequence[Row], scores: Sequence[str]) -> None:
    """The finalists, and below them the models that fell behind in an earlier round."""
    finalists = len(ranking.finalists)
    with_images = finalists < len(ranked)
    columns = [
        Column("", is_number=True),
        Column("model", is_name=True),
        *(Column(head, is_number=True) for head in ("score", "95 % interval", "tie", "knn")),
        *([Column("bal.", is_number=True)] if ranking.uneven else []),
        *(Column(name, is_number=True) for name in scores),
        *([Column("images", is_number=True)] if with_images else []),
        Column("params", is_number=True),
        Column("s", is_number=True),
        Column("licence"),
    ]
    rows = [
        _cells(place, row, scores, with_balanced=ranking.uneven, with_images=with_images)
        for place, row in enumerate(ranked, start=1)
    ]
    print_table(columns, rows[:finalists])
    if with_images:
        print(
            "\nfell behind in an earlier round, on fewer images (not to be compared with the values"
            " above)"
        )
        print_table(columns, rows[finalists:])


def _print_scores(scores: Sequence[str], rows: Sequence[Row]) -> None:
    """Further scores by place, where they do not fit into the table."""
    print(f"\nfurther scores of the first {len(rows)}, by place")
    places = [Column(str(place), is_number=True) for place in range(1, len(rows) + 1)]
    cells = []
    for name in scores:
        values = [row.scores.get(name) for row in rows]
        cells.append([name, *map(_number, values)])
    print_table([Column("score"), *places], cells)


def _cells(
    place: int,
    row: Row,
    scores: Sequence[str],
    *,
    with_balanced: bool,
    with_images: bool,
) -> list[str]:
    dash = " – " if (row.low or 0) < 0 else "–"
    return [
        str(place),
        printable(row.model, 60),
        _number(row.value),
        f"{_number(row.low)}{dash}{_number(row.high)}",
        letter(row.group),
        _percent(row.knn),
        *([_percent(row.knn_balanced)] if with_balanced else []),
        *(_number(row.scores.get(name)) for name in scores),
        *([str(row.probe_size or "-")] if with_images else []),
        short_count(row.params_total),
        "-" if row.seconds is None else f"{row.seconds:.1f}",
        printable(row.license or "unknown", 20),
    ]


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
    tied = [printable(row.model, 60) for row in ranking.finalists if row.group == 1]
    if len(tied) > 1:
        first, last = tied[:-1], tied[-1]
        if len(tied) > 5:
            first, last = tied[:4], f"{len(tied) - 4} more"
        parts.append(f"{', '.join(first)} and {last} too close to call")
    return "; ".join(parts)


def expected(ranking: Ranking) -> str | None:
    """The accuracy to expect of a small student of the first teacher, where that was calibrated."""
    prediction = ranking.rows[0].expected if ranking.rows else None
    if prediction is None:
        return None
    beside = ""
    if ranking.commonest:
        name, share = ranking.commonest
        beside = f"; always saying {printable(name, 40)!r}: {100 * share:.0f} % of the probe"
    low, high, level = (round(100 * prediction[name]) for name in ("low", "high", "level"))
    return (
        f"expected of a small student of {printable(ranking.rows[0].model, 80)}, with unlabelled"
        f" images: about {100 * prediction['accuracy']:.0f} % right ({low} to {high} % in {level}"
        f" of 100 cases){beside}"
    )


def beside_knn(ranking: Ranking) -> list[str]:
    """What the column knn is to be held against: a line or two, none without probe counts."""
    if ranking.commonest is None:
        return []
    name, share = ranking.commonest
    images = sum(ranking.probe["images"])
    lines = [
        f"knn: right by nearest neighbours, of {images} probe images; always saying"
        f" {printable(name, 40)!r}: {_percent(share)}"
    ]
    best = ranking.finalists[0] if ranking.finalists else None
    if ranking.uneven and best is not None and best.knn_by_class is not None:
        lines.append(
            "bal.: the mean of knn over the classes; the first model's worst:"
            f" {_worst(ranking, best.knn_by_class)}"
        )
    return lines


def _worst(ranking: Ranking, shares: Sequence[float | None]) -> str:
    """The classes that are recognised worst, with their probe images."""
    counted = zip(ranking.classes, shares, ranking.probe["images"], strict=True)
    known = [(share, name, images) for name, share, images in counted if share is not None]
    return ", ".join(
        f"{printable(name, 40)!r} {_percent(share)} of {images}"
        for share, name, images in sorted(known)[:_WORST]
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


def _closing(ranking: Ranking) -> str:
    names = ", ".join(printable(name, 60) for name in ranking.committee)
    why = ranking.committee_reasons.get(
        "sentence", "none; no model adds to what the labels say alone"
    )
    lines = [
        f"committee: {names or printable(why, 300)}",
        summary(ranking),
        left_unprobed(ranking),
    ]
    if ranking.catalogue == PACKAGED:
        lines.append(
            "no catalogue yet, so the small zoo inside this package was ranked; for more models:"
            " python -m zoo.crawl"
        )
    return "\n".join(line for line in lines if line)


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
