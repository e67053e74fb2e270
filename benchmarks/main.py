"""``teacher-zoo VERB``: the commands of all floors under one name.

A verb's module is imported only when the verb is given, so that ``--help`` is light.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from zoo.errors import UserError
from zoo.terminal.command import fail, show, typed_as, validate_choice, version_text


class Verb(NamedTuple):
    """A command: the module whose ``main`` it is, and what it does in one line."""

    module: str
    summary: str


VERBS = {
    "crawl": Verb("zoo.crawl", "put models into the catalogue"),
    "query": Verb("zoo.query", "ask the catalogue"),
    "doctor": Verb("zoo.doctor", "examine the catalogue and mend it"),
    "rank": Verb("selection.rank", "rank the models as teachers for your data"),
    "train": Verb("distill.train", "train a small student from the best teachers"),
    "compare": Verb("distill.compare", "train several methods and compare the students"),
    "predict": Verb("distill.predict", "classify images with a student"),
    "benchmark": Verb("benchmarks.run", "measure one thing and record it"),
    "report": Verb("benchmarks.report", "draw a page of all that was measured"),
}


def help_text() -> str:
    """The verbs with a line each."""
    width = max(map(len, VERBS))
    lines = [f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "Usage: teacher-zoo VERB [OPTIONS]",
            "",
            *lines,
            "",
            "teacher-zoo VERB --help lists the options of a verb; --version prints the version.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    place = next((i for i, word in enumerate(words) if not word.startswith("-")), None)
    options = words[:place]
    if "--version" in options:
        show(version_text())
        return 0
    unknown = [word for word in options if word not in ("--help", "--debug")]
    if unknown:
        return fail(f"no such option: {unknown[0]} (teacher-zoo --help lists the verbs)", 2)
    if place is None or "--help" in options:
        show(help_text())
        return 0
    name = words.pop(place)
    try:
        module = importlib.import_module(VERBS[validate_choice("verb", name, VERBS)].module)
    except UserError as error:
        return fail(str(error), 2)
    with typed_as(f"teacher-zoo {name}"):
        status: int = module.main(words)
        return status


if __name__ == "__main__":
    raise SystemExit(main())
