"""The ranking as a terminal shows it."""

from __future__ import annotations

import shutil
import sys

from selection.ranking import PACKAGED, Ranking, Row
from zoo.terminal.command import clean

# columns that the table itself wants; further scores stand in it where they fit beside that
_OWN = 100


def show(ranking: Ranking) -> None:
    """Print the ranking to stdout: a rich table, or a plain one without rich; failed models last,
    then the committee.
    """
    ranked = [row for row in ranking.rows if row.value is not None]
    further = sorted({name for row in ranked for name in row.scores} - {"knn", ranking.score})
    beside = further if sum(len(name) + 2 for name in further) <= _width() - _OWN else []
    last = len(ranking.finalists)
    images = ["images"] if last < len(ranked) else []
    heads = [
        "",
        "model",
        "score",
        "95 % interval",
        "tie",
        "knn",
        *beside,
        *images,
        "params",
        "s",
        "licence",
    ]
    lines = [
        _cells(place, row, beside, images=bool(images)) for place, row in enumerate(ranked, start=1)
    ]
    _print(heads, lines[:last])
    if images:
        print(
            "\nfell behind in an earlier round, on fewer images (not to be compared with the values"
            " above)"
        )
        _print(heads, lines[last:])
    if further and not beside:
        shown = ranked[: max(1, (_width() - 46) // 8)]
        print(f"\nfurther scores of the first {len(shown)}, by place")
        _print(
            ["", "score", *(str(i + 1) for i in range(len(shown)))],
            [["", name, *(_number(row.scores.get(name)) for row in shown)] for name in further],
        )
    for row in ranking.rows[len(ranked) :]:
        print(f"failed: {clean(row.model, 80)}: {clean(row.error or '', 300)}")
    print(_closing(ranking))
    if said := expected(ranking):
        print(said)


def _print(heads: list[str], lines: list[list[str]]) -> None:
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:
        print("\n".join("  ".join(line) for line in [heads, *lines]))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        left = i == 1 or head == "licence"
        table.add_column(
            head,
            justify="left" if left else "right",
            overflow="fold",
            no_wrap=head != "model",
            min_width=12 if head == "model" else None,
        )
    for line in lines:
        table.add_row(*map(escape, line))
    Console(width=_width(), highlight=False).print(table)


def _width() -> int:
    """Columns to fill: the terminal's, or what a file can well hold."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 140


def _cells(place: int, row: Row, beside: list[str], *, images: bool) -> list[str]:
    between = " – " if (row.low or 0) < 0 else "–"
    return [
        str(place),
        clean(row.model, 60),
        _number(row.value),
        f"{_number(row.low)}{between}{_number(row.high)}",
        letter(row.group),
        _percent(row.knn),
        *(_number(row.scores.get(name)) for name in beside),
        *([str(row.probe_size or "-")] if images else []),
        size(row.params_total),
        "-" if row.seconds is None else f"{row.seconds:.1f}",
        clean(row.license or "unknown", 20),
    ]


def summary(ranking: Ranking) -> str:
    """How the choice came about, in one line: how many were known, probed, chosen, and what is too
    close to call.
    """
    counts = ranking.candidates
    parts = (
        [f"{counts['known']:,} in the catalogue", f"{counts['loadable']:,} can be loaded"]
        if "known" in counts
        else []
    )
    if counts.get("touched") is not None:
        parts.append(f"{counts['touched']:,} touched by label names")
    rounds = len(counts.get("rounds", ()))
    if "probed" in counts:
        parts.append(
            f"{counts['probed']:,} probed" + (f" in {rounds} rounds" if rounds > 1 else "")
        )
    parts.append(f"committee of {len(ranking.committee)}" if ranking.committee else "no committee")
    tied = [clean(row.model, 60) for row in ranking.finalists if row.group == 1]
    if len(tied) > 1:
        named = (
            f"{', '.join(tied[:4])} and {len(tied) - 4} more"
            if len(tied) > 5
            else f"{', '.join(tied[:-1])} and {tied[-1]}"
        )
        parts.append(f"{named} too close to call")
    return "; ".join(parts)


def expected(ranking: Ranking) -> str | None:
    """What accuracy a small student of the first teacher should reach; ``None`` where that was
    never measured.
    """
    found = ranking.rows[0].expected if ranking.rows else None
    if found is None:
        return None
    low, high, level = (round(100 * found[name]) for name in ("low", "high", "level"))
    return (
        f"expected of a small student of {clean(ranking.rows[0].model, 80)}, with unlabelled"
        f" images: about {100 * found['accuracy']:.0f} % right ({low} to {high} % in {level} of 100"
        " cases)"
    )


def left_unprobed(ranking: Ranking) -> str | None:
    """Why models that could be loaded were not probed, or ``None`` where all were."""
    why = {
        "limit": "beyond the shortlist",
        "budget": "for want of time",
        "budget_gb": "for their download",
    }
    left = ranking.candidates.get("left_out", {})
    parts = [f"{left[name]:,} {words}" for name, words in why.items() if left.get(name)]
    return f"left unprobed: {', '.join(parts)}" if parts else None


def _closing(ranking: Ranking) -> str:
    names = ", ".join(clean(name, 60) for name in ranking.committee)
    why = clean(
        ranking.committee_reasons.get(
            "sentence", "none; no model adds to what the labels say alone"
        ),
        300,
    )
    lines = [
        f"committee: {names}" if names else f"committee: {why}",
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
    return "–" if group is None else chr(96 + group) if 1 <= group <= 26 else str(group)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def size(count: int | None) -> str:
    """``3500000`` -> ``3.5M``, ``176600`` -> ``177k``; unknown is a dash."""
    if count is None:
        return "-"
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{count / scale:.{0 if count >= 100 * scale else 1}f}{unit}"
    return str(count)
