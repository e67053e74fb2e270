"""From the teacher's classes to the task's: prototypes, plan, carried answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distill.teachers.ground_cost import carried, ground_cost

N, C, C_T, D = 400, 3, 6, 10


def world(seed: int = 0, *, noise: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """Features, a teacher's logits over six classes, two of which lie in each of the task's three,
    and the labels.
    """
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randint(0, C_T, (N,), generator=generator)
    centres = 3 * torch.randn(C_T, D, generator=generator)
    centres[1::2] = centres[::2] + 0.5 * torch.randn(C, D, generator=generator)
    features = centres[fine] + noise * torch.randn(N, D, generator=generator)
    logits = 4 * torch.nn.functional.one_hot(fine, C_T).float() + 0.3 * torch.randn(
        N, C_T, generator=generator
    )
    return features, logits, fine // 2


def test_answers_are_carried_to_the_right_classes() -> None:
    features, logits, truth = world()
    labels = truth.clone()
    labels[60:] = -1  # few labels, many images
    found = ground_cost(features, logits, labels, num_classes=C)
    assert found.plan is not None
    assert torch.equal(found.plan.argmax(1), torch.arange(C_T) // 2)
    assert torch.allclose(found.plan.sum(1), torch.ones(C_T), atol=1e-5)
    answers = carried(logits, found.plan, found.sharpness)
    assert float((answers.argmax(1) == truth).float().mean()) > 0.97
    assert torch.allclose(answers.exp().sum(1), torch.ones(N), atol=1e-5)


def test_what_the_plan_carries_meets_the_class_frequencies() -> None:
    features, logits, labels = world(1)
    found = ground_cost(features, logits, labels, num_classes=C)
    assert found.plan is not None
    moved = (torch.softmax(logits / 2, 1) @ found.plan).mean(0)
    expected = (torch.bincount(labels, minlength=C) + 0.5) / (N + 0.5 * C)
    assert torch.allclose(moved, expected, atol=1e-3)


def test_images_without_label_sharpen_the_prototypes() -> None:
    features, logits, truth = world(2, noise=1.0)
    labels = torch.where(torch.arange(N) < 12, truth, -1)
    seen, all_seen = (
        ground_cost(features[:n], logits[:n], labels[:n], num_classes=C) for n in (12, N)
    )
    oracle = ground_cost(features, logits, truth, num_classes=C)
    assert float((all_seen.matrix - oracle.matrix).abs().mean()) < float(
        (seen.matrix - oracle.matrix).abs().mean()
    )


def test_a_surer_teacher_is_carried_more_sharply_and_classes_may_be_renamed() -> None:
    features, logits, labels = world(3)
    spoiled = labels.clone()
    spoiled[::3] = (labels[::3] + 1) % C
    sure, unsure = (ground_cost(features, logits, one, num_classes=C) for one in (labels, spoiled))
    assert sure.sharpness > unsure.sharpness
    order = torch.randperm(C_T, generator=torch.Generator().manual_seed(0))
    again = ground_cost(features, logits[:, order], labels, num_classes=C)
    assert sure.plan is not None and again.plan is not None
    assert torch.allclose(again.plan, sure.plan[order], atol=1e-4)


def test_a_teacher_without_a_head_has_no_plan() -> None:
    features, _, labels = world()
    found = ground_cost(features, None, labels, num_classes=C)
    assert found.plan is None
    assert found.matrix.shape == (C, C)
    assert torch.allclose(found.matrix.diagonal(), torch.zeros(C), atol=1e-5)


def test_the_mean_cost_is_that_of_the_answers_to_the_true_classes() -> None:
    features, logits, truth = world(4, noise=2.0)
    labels = torch.where(torch.arange(N) < 50, truth, -1)
    found = ground_cost(features, logits, labels, num_classes=C)
    assert float(found.matrix.mean()) == pytest.approx(1, abs=1e-5)
    answers = logits.softmax(dim=1)
    costs = [
        sum(float(answers[n, i] * found.matrix[i, truth[n]]) for i in range(C_T)) for n in range(50)
    ]
    assert found.mean == pytest.approx(sum(costs) / 50, abs=1e-4)


def test_a_class_without_labels_stands_at_the_mean_of_all() -> None:
    features, _, labels = world(5)
    labels = torch.where(labels == 2, -1, labels)
    matrix = ground_cost(features, None, labels, num_classes=C).matrix
    x = (features - features.mean(0)) / features.std(0, correction=0)
    known = labels >= 0
    places = [x[labels == 0].mean(0), x[labels == 1].mean(0), x[known].mean(0)]
    places = torch.stack([place / place.norm() for place in places])
    wanted = 1 - places @ places.T
    assert torch.allclose(matrix, wanted / wanted.mean(), atol=1e-4)


def test_a_feature_that_never_moves_is_no_trouble() -> None:
    features, logits, labels = world(6)
    features[:, 3] = 7.0
    found = ground_cost(features, logits, labels, num_classes=C)
    assert bool(torch.isfinite(found.matrix).all())


def test_a_sharpness_is_an_exponent() -> None:
    plan = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    logits = torch.log(torch.tensor([[0.64, 0.04]]))  # softened: 0.8 and 0.2
    assert torch.allclose(carried(logits, plan, 1.0).exp(), torch.tensor([[0.4, 0.6]]), atol=1e-6)
    squares = torch.tensor([[0.16, 0.36]]) / 0.52
    assert torch.allclose(carried(logits, plan, 2.0).exp(), squares, atol=1e-6)
