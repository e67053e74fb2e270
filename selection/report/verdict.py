"""What a ranking says to somebody who wants to get on: which teacher, how sure, what next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from selection.ranking import PACKAGED, Ranking
from zoo.terminal.command import as_typed, printable

_MOST_NAMED = 4  # models that a sentence names
_NAME_LENGTH = 200


def verdict(ranking: Ranking) -> list[str]:
    """Sentences: the best teacher and how sure that is, whom to train from, what to expect."""
    if not any(row.value is not None for row in ranking.rows):
        return ["No model could be ranked; the reasons are below."]
    return [_best(ranking), _teachers(ranking), *filter(None, [expected(ranking)])]


def _best(ranking: Ranking) -> str:
    """The first model, and whether it is clearly ahead of the others."""
    first, *others = ranking.finalists
    name = printable(first.model, _NAME_LENGTH)
    samples = f"{first.probe_size or ranking.probe.get('size', '?')} of your {ranking.kind.nouns}"
    tied = [row.model for row in others if row.group == first.group and first.group is not None]
    if tied:
        verb = "does" if len(tied) == 1 else "do"
        return (
            f"Best teacher: {name}, but it is too close to call: {listed(tied)} {verb} as well, as"
            f" far as {samples} can tell. Any of them is a good choice."
        )
    if not others:
        only = "the only model" if len(ranking.finalists) == len(ranking.rows) else "the only one"
        return f"Best teacher: {name}, {only} that could be measured on {samples}."
    ahead = f"the other {len(others)}" if len(others) > 1 else "the other one"
    return (
        f"Best teacher: {name}. It is ahead of {ahead} by more than chance (95 % sure), measured on"
        f" {samples}."
    )


def _teachers(ranking: Ranking) -> str:
    """Whom to train from."""
    committee = ranking.committee
    if not committee:
        return (
            "Train without a teacher: none of these models tells your classes better than their"
            " frequencies do."
        )
    if len(committee) == 1:
        return f"Train from {listed(committee)} alone: no other model clearly adds to it."
    return f"Train from {listed(committee)} together: each adds to what the others know."


def listed(models: Sequence[str]) -> str:
    """``A, B and C``; of many the first few and how many more."""
    names = [printable(model, _NAME_LENGTH) for model in models]
    if len(names) > _MOST_NAMED:
        names = [*names[: _MOST_NAMED - 1], f"{len(names) - _MOST_NAMED + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def expected(ranking: Ranking) -> str | None:
    """The accuracy to expect of a small student of the first teacher, where that was calibrated."""
    prediction = ranking.rows[0].expected if ranking.rows else None
    if prediction is None:
        return None
    beside = ""
    if ranking.commonest:
        name, share = ranking.commonest
        beside = f"; always saying {printable(name, 40)!r} gets {100 * share:.0f} %"
    low, high, level = (round(100 * prediction[name]) for name in ("low", "high", "level"))
    return (
        f"Expect about {100 * prediction['accuracy']:.0f} % right answers of a small student that"
        f" also learns from unlabelled {ranking.kind.nouns} ({low} to {high} % in {level} of"
        f" 100 cases){beside}."
    )


def train_command(
    ranking: Ranking,
    *,
    task: str,
    file: str | None,
    more: Sequence[str],
) -> str:
    """The command that trains a student next; ``more`` are options that both commands share.

    ``file`` is the ranking's; None stands for one that is still to be written.
    """
    teachers = ["--ranking", file or "ranking.json"] if ranking.committee else ["--method", "plain"]
    first = ranking.kind.first_student
    student = ["--student", first] if first else []
    words = ["--task", task, *student, *teachers, *more, "--out", "run"]
    return printable(f"{as_typed('distill.train')} {shlex.join(words)}", 10_000)


def steps(ranking: Ranking, command: str, *, saved: bool) -> list[tuple[str, str]]:
    """What to do next, in words, each with its command."""
    words = "next, train a student:"
    if ranking.committee and not saved:
        words = "next, add --out ranking.json to this command (it is quick now), then train:"
    after = [(words, command)]
    if ranking.catalogue == PACKAGED:
        crawl = f"{as_typed('zoo.crawl')} {ranking.kind.crawl}"
        why = "no catalogue yet, so the small zoo inside this package was ranked; for more models:"
        after.append((why, crawl))
    return after
