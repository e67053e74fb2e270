"""The README.md of a run: what the exported student is, who taught it, and what may be done with
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill.kinds.registry import kind_of_run
from distill.student.cost import cost_heads, cost_notes, cost_rows
from distill.training.figures import sample_count
from distill.training.results import known_figures, split_metrics, warnings_of
from selection.scores.classification import ClassificationMetrics
from zoo.terminal.command import printable

if TYPE_CHECKING:
    from distill.kinds.kind import TrainingKind

# Licences under which a student trained from the model's outputs can be passed on, if the authors
# are named and notices are kept.
PERMISSIVE_LICENCES = (
    "apache-2.0",
    "mit",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd",
    "bsd-2",
    "bsd-3",
    "isc",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-3.0",
    "cc-by-2.0",
    "unlicense",
    "zlib",
    "wtfpl",
    "ms-pl",
    "afl-3.0",
    "artistic-2.0",
    "bsl-1.0",
    "cdla-permissive-2.0",
)


def licence_warning(model: str, licence: str | None) -> str | None:
    """A sentence where a teacher's licence is unknown or may restrict what is made from the model,
    else None.
    """
    name = printable(model, 80)
    given = (licence or "").strip().lower()
    if given in PERMISSIVE_LICENCES:
        return None
    if not given or given in ("unknown", "other"):
        return f"the licence of {name} is unknown: ask its authors before passing the student on"
    parts, why = given.split("-"), "may restrict what is made from the model"
    if "nc" in parts:
        why = "does not allow commercial use"
    elif "nd" in parts:
        why = "does not allow derived works"
    elif "sa" in parts or given.startswith(("gpl", "agpl", "lgpl")):
        why = "asks that derived works carry the same licence"
    return (
        f"the licence of {name} ({printable(licence, 60)}) {why}: read it before passing the"
        " student on"
    )


def model_card(config: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """The text of README.md from a run's ``config.json`` and ``results.json``. Names of strangers
    are made harmless.
    """
    kind = kind_of_run(config)
    teachers = config["teachers"] if config["method"] != "plain" else []
    lines = [
        *_front_matter(kind),
        "",
        *_summary(config, kind),
        "",
        *_accuracy(results, config["classes"], kind),
        "",
        *_cost(results.get("cost")),
        *_teachers(teachers),
        "",
        *_origin(config, kind.nouns),
        "",
    ]
    return "\n".join(lines)


def _front_matter(kind: TrainingKind) -> list[str]:
    values = {
        "library_name": kind.library,
        "pipeline_tag": kind.pipeline_tag,
        "tags": [kind.library, "distillation"],
    }
    return ["---", *(f"{name}: {json.dumps(value)}" for name, value in values.items()), "---"]


def _summary(config: Mapping[str, Any], kind: TrainingKind) -> list[str]:
    student, classes = config["plan"]["student"], config["classes"]
    first, *opening = kind.opening()
    return [
        f"# {_text(student['architecture'])} for {_text(config['options']['task'])}",
        "",
        f"A student of {len(classes)} classes for {kind.input_words(student['size'])}, trained with"
        f" `--method {_text(config['method'])}`, seed {config['seed']}. {first}",
        *opening,
        "",
        f"Classes: {', '.join(_text(name) for name in classes)}",
    ]


def _accuracy(results: Mapping[str, Any], classes: Sequence[str], kind: TrainingKind) -> list[str]:
    by_split = {
        split: split_metrics(results, split, classes)
        for split in ("validation", "test")
        if split in results
    }
    lines = _figures(results, by_split, kind)
    errors = {
        split: metrics.calibration_error
        for split, metrics in by_split.items()
        if metrics is not None and metrics.calibration_error is not None
    }
    if errors:
        parts = [f"{100 * error:.1f} points on {split}" for split, error in errors.items()]
        lines += [
            "",
            f"Expected calibration error (15 bins): {', '.join(parts)}. It is how far the"
            " probability of the predicted class is from the share that is right.",
        ]
    if results.get("verdict"):
        lines += ["", _text(results["verdict"])]
    for split, metrics in by_split.items():
        for sentence in warnings_of(metrics, split, kind=kind):
            lines += ["", f"> **Warning:** {_text(sentence)}"]
    if (test := by_split.get("test")) is not None:
        lines += ["", *_by_class(test, kind.nouns)]
    return lines


def _figures(
    results: Mapping[str, Any],
    by_split: Mapping[str, ClassificationMetrics | None],
    kind: TrainingKind,
) -> list[str]:
    """The table of figures, a line a split."""
    figures = known_figures(results[next(iter(by_split))], kind) if by_split else kind.figures
    heads = ["split", kind.nouns, *(figure.with_unit for figure in figures)]
    classes = kind.counts_classes and any(by_split.values())
    if classes:
        heads.append("always the commonest class %")
    lines = [
        f"## {figures[0].title}",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for split, metrics in by_split.items():
        entry = results[split]
        cells = [split, str(sample_count(entry))]
        cells += [
            figure.text(figure.interval(entry)) if figure.known(entry) else "unknown"
            for figure in figures
        ]
        if classes and metrics is not None:
            cells.append(f"{100 * metrics.commonest_share:.1f}, {_text(metrics.commonest)}")
        lines.append(f"| {' | '.join(cells)} |")
    meanings = [f"{figure.title}: {figure.meaning}." for figure in figures[1:]]
    return [*lines, "", " ".join(["In brackets are 95 % intervals.", *meanings])]


def _by_class(metrics: ClassificationMetrics, nouns: str) -> list[str]:
    """The test figures of each class."""
    lines = [
        "### By class, on the test split",
        "",
        f"| class | {nouns} | recognised % | right where predicted % |",
        "|---|---|---|---|",
    ]
    for entry in metrics.classes:
        recall = "unknown" if entry.recall is None else entry.recall.as_points()
        precision = "never" if entry.precision is None else f"{100 * entry.precision:.1f}"
        lines.append(f"| {_text(entry.name)} | {entry.samples} | {recall} | {precision} |")
    return lines


def _cost(cost: Mapping[str, Any] | None) -> list[str]:
    """Size and speed of the student and its teachers; nothing where they were not measured."""
    if not cost:
        return []
    heads = cost_heads(cost)
    lines = ["## Size and speed", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, *figures in cost_rows(cost):
        lines.append(f"| {_text(name)} | {' | '.join(figures)} |")
    return [*lines, "", _text(" ".join(cost_notes(cost)), 1_500), ""]


def _teachers(teachers: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["## Teachers", ""]
    if not teachers:
        return [*lines, "None: trained on labels alone."]
    lines += ["| teacher | revision | licence |", "|---|---|---|"]
    warnings = []
    for teacher in teachers:
        name, licence = str(teacher["id"]), teacher.get("license")
        revision = str(teacher.get("sha") or "unknown")[:12]
        lines.append(f"| {_text(name)} | {_text(revision)} | {_text(licence or 'unknown')} |")
        if warning := licence_warning(name, licence):
            warnings += ["", f"> **Warning:** {_text(warning)}"]
    return lines + warnings


def _origin(config: Mapping[str, Any], nouns: str) -> list[str]:
    task = config["task"]
    return [
        "## How it was made",
        "",
        f"Data digest `{task['digest'][:16]}`, {task['labelled']} labelled and"
        f" {task['unlabelled']} unlabelled training {nouns}.{_balance(config)} Versions:"
        f" {_text(json.dumps(config['versions']))}.",
    ]


def _balance(config: Mapping[str, Any]) -> str:
    kind = config["plan"].get("class_balance")
    if not kind:
        return ""
    return (
        f" Trained with `--class-balance {_text(kind)}`: its probabilities are those for classes"
        " that are equally common."
    )


def _text(value: object, limit: int = 400) -> str:
    """One line of Markdown without markup: no link, no table cell, no tag can come from a name."""
    text = printable(value, limit)
    for char in "&<>[]`|":
        text = text.replace(char, f"&#{ord(char)};") if char != "&" else text.replace(char, "&amp;")
    return text.replace("*", "\\*").replace("_", "\\_")
