"""Figures of recommenders: how good the lists are that users get, and the ratings of pairs.

Shapes: n pairs of a split, U users, I items, L listed items, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from distill.kinds.classes import ACCURACY, split_results
from distill.kinds.pair_join import join_of, pairs_of
from distill.training.figures import TERMS, Entry, Figure
from selection.kinds.ratings.history import Pairs
from selection.kinds.ratings.references import Reference, references
from selection.kinds.ratings.table import pairs, table_of
from selection.kinds.ratings.top_items import ListTerms, list_terms
from selection.scores.resampled import root_mean

if TYPE_CHECKING:
    from distill.kinds.kind import SplitAnswers
    from selection.task import Split, Task

Scores = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.floating]]


NDCG = Figure(
    name="ndcg",
    words="NDCG@10",
    head="NDCG@10",
    meaning="the discounted gain of the ten items that a user is shown first, of all items",
    digits=4,
    units="users",
)
RECALL = Figure(
    name="recall",
    words="recall@10",
    head="recall@10",
    meaning="the share of a user's held-out items that is among the first ten, of all items",
    digits=4,
    units="users",
)
RMSE = Figure(
    name="rmse",
    words="RMSE",
    head="RMSE",
    meaning="the root of the mean squared error of the expected rating",
    statistic=root_mean,
    higher_is_better=False,
    digits=3,
)
MAE = Figure(
    name="mae",
    words="mean absolute error",
    head="MAE",
    meaning="the mean distance of the expected from the true rating",
    higher_is_better=False,
    digits=3,
)
FIGURES = (NDCG, RECALL, RMSE, MAE, ACCURACY)


def evaluate(answers: SplitAnswers) -> dict[str, Any]:
    """The entry of ``results.json`` for a split: per pair squared and absolute error of the
    expected rating, per user NDCG and recall of the first ten of all items.
    """
    entry = split_results(answers.labels, answers.logits, answers.task.classes)
    entry[TERMS] = _terms(answers)
    for figure in FIGURES:
        entry |= figure.kept(entry)
    return entry


def validate(answers: SplitAnswers) -> dict[str, float]:
    """What an epoch's line says of the validation split."""
    entry: Entry = {TERMS: _terms(answers)}
    values = {
        figure.name: figure.value(entry) for figure in FIGURES if figure.terms(entry) is not None
    }
    labels = torch.from_numpy(answers.labels)
    values["loss"] = float(torch.nn.functional.cross_entropy(answers.logits, labels))
    return values


def _terms(answers: SplitAnswers) -> dict[str, list[float]]:
    """The terms of each figure that the answers tell."""
    table, terms = table_of(answers.task.train), {}
    if not table.implicit:
        terms = _error_terms(expected_ratings(answers), np.asarray(table.values)[answers.labels])
    scores = _scores(answers)
    if scores is not None:
        lists = lists_of_split(
            answers.task,
            pairs_of(answers.samples),
            answers.samples.labels,
            scores,
            is_validation=answers.samples.splits[0] is answers.task.validation,
        )
        terms |= {NDCG.name: lists.ndcg.tolist(), RECALL.name: lists.recall.tolist()}
    return terms


def _error_terms(
    expected: npt.NDArray[np.floating], true: npt.NDArray[np.float64]
) -> dict[str, list[float]]:
    """Squared and absolute error of each pair, from ratings (n,)."""
    errors = expected - true
    return {RMSE.name: np.square(errors).tolist(), MAE.name: np.abs(errors).tolist()}


def expected_ratings(answers: SplitAnswers) -> npt.NDArray[np.float64]:
    """(n,) the mean rating by the probabilities of the classes."""
    values = torch.tensor(table_of(answers.task.train).values, dtype=torch.float64)
    expected: npt.NDArray[np.float64] = (answers.logits.double().softmax(dim=1) @ values).numpy()
    return expected


def _scores(answers: SplitAnswers) -> Scores | None:
    """Users (b,) -> (b, I) relevances of the student, or of a teacher."""
    if answers.student is not None:
        network = answers.student.network
        device = next(network.parameters()).device

        @torch.no_grad()
        def of_student(users: npt.NDArray[np.int64]) -> npt.NDArray[np.floating]:
            found: npt.NDArray[np.float32] = (
                network.relevance(torch.from_numpy(users).to(device)).float().cpu().numpy()
            )
            return found

        return of_student
    if answers.lists is None:
        return None
    history, lists = join_of(answers.task).items.history, answers.lists

    def of_teacher(users: npt.NDArray[np.int64]) -> npt.NDArray[np.floating]:
        values = np.full((len(users), history.items), -np.inf, np.float32)
        values[:, history.listed] = lists[torch.from_numpy(users)].float().numpy()
        return values

    return of_teacher


def references_of(task: Task) -> dict[str, dict[str, Any]]:
    """Popularity, item means, item-kNN and EASE on the validation and the test split."""
    join, table = join_of(task), table_of(task.train)
    known = references(join.items.history, join.items.own())
    return {
        reference.name: {
            name: _reference_entry(reference, getattr(task, name), table.values, task)
            for name in ("validation", "test")
        }
        for reference in known
    }


def _reference_entry(
    reference: Reference, split: Split, values: tuple[float, ...], task: Task
) -> dict[str, Any]:
    of_split, terms = pairs(split), {}
    if reference.ratings is not None:
        expected = reference.ratings(of_split).clip(values[0], values[-1])
        terms = _error_terms(expected, np.asarray(values)[split.labels])
    if reference.scores is not None:
        is_validation = split is task.validation
        lists = lists_of_split(
            task, of_split, split.labels, reference.scores, is_validation=is_validation
        )
        terms |= {NDCG.name: lists.ndcg.tolist(), RECALL.name: lists.recall.tolist()}
    entry: dict[str, Any] = {"samples": len(split), TERMS: terms}
    for figure in FIGURES:
        entry |= figure.kept(entry)
    return {name: value for name, value in entry.items() if name != TERMS}


def lists_of_split(
    task: Task,
    of_split: Pairs,
    labels: npt.NDArray[np.int64],
    scores: Scores,
    *,
    is_validation: bool,
) -> ListTerms:
    """NDCG and recall of each user of a split (n,) by ``scores``.

    What a user had before is left out: of the test split the validation pairs too.
    """
    history, table = join_of(task).items.history, table_of(task.train)
    relevant = _matrix(_chosen(of_split, labels, implicit=table.implicit), history.observed.shape)
    left_out = history.observed
    if not is_validation:
        validation = pairs(task.validation)
        earlier = _chosen(validation, task.validation.labels, implicit=table.implicit)
        left_out = left_out + _matrix(earlier, history.observed.shape)
    return list_terms(scores, relevant, left_out)


def _chosen(all_pairs: Pairs, labels: npt.NDArray[np.int64], *, implicit: bool) -> Pairs:
    """The pairs that were observed: of implicit feedback those of the second class."""
    rows = labels == 1 if implicit else labels >= 0
    return Pairs(all_pairs.users[rows], all_pairs.items[rows])


def _matrix(of_pairs: Pairs, shape: tuple[int, int]) -> Any:
    """(U, I) sparse, 1 at the pairs."""
    ones = np.ones(len(of_pairs.users), np.float32)
    return sparse.csr_array((ones, (of_pairs.users, of_pairs.items)), shape=shape)
