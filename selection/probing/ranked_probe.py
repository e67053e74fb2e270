"""A ranking with the probe that it was read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from selection.committee import Committee, benefit_of, select_committee
from selection.evidence import Evidence
from selection.probe import Probe
from selection.probing.budget import Budget
from selection.probing.evaluator import empty_row, ordered_rows
from selection.probing.inputs import RankingInputs
from selection.probing.rounds import Halving
from selection.ranking import Ranking, Row, versions
from selection.recall.candidates import Candidates
from selection.scores import knn
from selection.scores.prediction import expected_accuracy
from selection.settings import Settings
from selection.sources.unreadable import unreadable_warnings
from selection.task import Task
from zoo.errors import Unavailable

DETAILED = 3  # models of which the accuracy by class is kept


@dataclass(frozen=True)
class RankedProbe:
    """A ranking with the probe and the evidence that it was read from, which the page shows."""

    ranking: Ranking
    probe: Probe
    evidence: Mapping[str, Evidence]


def ranked_probe(
    inputs: RankingInputs,
    halving: Halving,
    settings: Settings,
    budget: Budget,
) -> RankedProbe:
    """Order the rows, choose the committee and put the ranking together."""
    task, probe, candidates = inputs.task, inputs.probe, inputs.candidates
    rows = [*_unloadable_rows(candidates), *halving.rows.values()]
    _check_any_ranked(rows, halving, settings.budget)
    ordered, late = ordered_rows(
        rows, halving.evidence, inputs.score, inputs.also, budget.left_to_compare
    )
    committee = _choose_committee(halving, settings.top, probe, lead=ordered[0].model)
    ordered = [_with_expected_accuracy(row, inputs.score.name, task) for row in ordered]
    ordered = _with_class_accuracy(ordered, halving.evidence)
    warnings = _warnings(task, probe, ordered)
    if halving.note:
        warnings.append(halving.note)
    warnings += late
    ranking = Ranking(
        task=task.name,
        classes=task.classes,
        split={
            "digest": task.digest,
            "seed": task.split_seed,
            "revision": task.revision,
            "kind": task.kind.name,
            "image_column": task.columns.image,
            "text_column": task.columns.text,
            "label_column": task.columns.label,
            "images": task.class_counts.by_split(),
        },
        probe={
            "size": probe.labelled,
            "seed": probe.seed,
            "digest": probe.digest,
            "images": probe.class_counts,
        },
        score=inputs.score.name,
        catalogue=candidates.catalogue,
        versions=versions(),
        rows=tuple(ordered),
        committee=committee.models,
        committee_reasons=committee.reasons(),
        warnings=tuple(warnings),
        candidates=_counts(candidates, halving),
    )
    ranked = {row.model: halving.evidence[row.model] for row in ordered if row.value is not None}
    return RankedProbe(ranking, probe, ranked)


def _unloadable_rows(candidates: Candidates) -> list[Row]:
    """Rows of models that the catalogue knows to be unusable."""
    return [
        replace(empty_row(card), error=card.not_loadable_reason or "cannot be loaded safely")
        for card in candidates.failed
    ]


def _check_any_ranked(rows: Sequence[Row], halving: Halving, seconds: float | None) -> None:
    """Raise ``Unavailable`` with the reason if no model was ranked at all."""
    if any(row.value is not None for row in rows):
        return
    limits = {"budget": f"{seconds or 0:.0f} s", "budget_gb": "the download bound"}
    left_out = []
    for reason, limit in limits.items():
        count = halving.left_out[reason]
        if count:
            left_out.append(f"{count} did not fit {limit}")
    if left_out:
        failed = f"; {len(rows)} failed" if rows else ""
        raise Unavailable(
            f"no model could be probed within the budget: {', '.join(left_out)}{failed}; what is"
            " stored is kept, so give more (--budget 2m) or run again"
        )
    if not rows:
        raise Unavailable(
            "none of the candidates could be probed: their weights are larger than the bound of"
            " --budget-gb or of unknown size; give more, or crawl smaller models"
        )
    raise Unavailable(f"all {len(rows)} models failed; the first: {rows[0].model}: {rows[0].error}")


def _choose_committee(halving: Halving, size: int, probe: Probe, *, lead: str) -> Committee:
    """Choose on the samples of the last round that still left a choice."""
    last = halving.committee_round(size + 1)
    benefits = {}
    with threadpool_limits(1, "blas"):
        for name in last.models:
            evidence = halving.evidence.get(name)
            if evidence is None:  # it failed in a later round
                continue
            benefits[name] = benefit_of(evidence.beginning(probe.length_of(last.samples)))
        return select_committee(benefits, size=size, lead=lead)


def _with_expected_accuracy(row: Row, score: str, task: Task) -> Row:
    """The row with the accuracy to expect of a student, where that was calibrated: on tasks whose
    classes are equally common.
    """
    if row.value is None or row.probe_size is None:
        return row
    if task.class_counts.unbalanced or not task.kind.calibrated:
        return row
    classes = len(task.classes)
    accuracy = expected_accuracy(
        row.value,
        score=score,
        classes=classes,
        samples=len(task.train) / classes,
        probe_size=row.probe_size,
    )
    return replace(row, expected=asdict(accuracy)) if accuracy else row


def _with_class_accuracy(rows: Sequence[Row], evidence: Mapping[str, Evidence]) -> list[Row]:
    """The rows, the best three with the accuracy of nearest neighbours by class."""
    complete = list(rows)
    for place, row in enumerate(rows[:DETAILED]):
        if row.value is None:
            continue
        read = evidence[row.model].labelled()
        shares = knn.accuracy_by_class(knn.terms(read), read.labels, len(read.classes))
        by_class = tuple(None if np.isnan(share) else float(share) for share in shares)
        complete[place] = replace(row, knn_by_class=by_class)
    return complete


def _counts(candidates: Candidates, halving: Halving) -> dict[str, Any]:
    """How many models were known, probed and left out, for ``ranking.json``."""
    return {
        "known": candidates.known,
        "loadable": candidates.loadable,
        "touched": candidates.touched or None,
        "probed": len(halving.evidence),
        "rounds": [{"images": done.samples, "models": len(done.models)} for done in halving.rounds],
        "left_out": {
            reason: halving.left_out[reason] for reason in ("budget", "budget_gb", "limit")
        },
    }


def _warnings(task: Task, probe: Probe, rows: Sequence[Row]) -> list[str]:

    warnings = [*task.warnings, *probe.warnings]
    if not task.unreadable:  # not looked at as a whole: what the probe met
        warnings += unreadable_warnings(
            probe.unreadable, probe.size + len(probe.unreadable), task.kind
        )
    for row in rows:
        warnings += row.warnings
    return warnings
