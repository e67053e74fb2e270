"""Laws of the distillation losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from distill.data.batch import Batch
from distill.methods.losses import (
    confidence_weights,
    correlation_distance,
    decoupled,
    dist,
    feature_distance,
    ordered_transport,
    softened_kl,
    standardised,
    standardised_error,
)
from distill.methods.recipe import task_term

B, C = 6, 5


def logits(seed: int, *, scale: float = 3.0, dtype: torch.dtype = torch.float64) -> Tensor:
    return (
        scale
        * torch.randn(B, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ).to(dtype)


TARGET = torch.tensor([0, 1, 2, 3, 4, 0])
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": lambda s, t: softened_kl(s, t, temperature=3.0),
    "standardised": lambda s, t: softened_kl(standardised(s), standardised(t), temperature=2.0),
    "dkd target": lambda s, t: decoupled(s, t, TARGET, temperature=2.0).target,
    "dkd others": lambda s, t: decoupled(s, t, TARGET, temperature=2.0).others,
    "dist between": lambda s, t: dist(s, t, temperature=2.0)[0],
    "dist within": lambda s, t: dist(s, t, temperature=2.0)[1],
    "feature": feature_distance,
    "standardised error": standardised_error,
}


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_zero_at_equality_and_positive_elsewhere(self, name: str) -> None:
        s, t = logits(0), logits(1)
        assert LOSSES[name](t, t).abs().max() < 1e-5
        assert (LOSSES[name](s, t) > 0).all()

    def test_gradient_vanishes_at_equality_and_descends_elsewhere(self, name: str) -> None:
        t = logits(1)
        for start, flat in ((t.clone(), True), (logits(0), False)):
            s = start.requires_grad_()
            value = LOSSES[name](s, t).sum()
            value.backward()
            assert torch.isfinite(s.grad).all()
            assert (s.grad.abs().max() < 1e-5) == flat
            if not flat:
                assert LOSSES[name]((s - 1e-4 * s.grad).detach(), t).sum() < value

    def test_order_of_images_does_not_matter_and_inputs_stay(self, name: str) -> None:
        s, t = logits(0), logits(1)
        before = s.clone(), t.clone()
        assert torch.equal(LOSSES[name](s, t), LOSSES[name](s, t))
        assert torch.equal(s, before[0])
        assert torch.equal(t, before[1])
        order = torch.tensor([5, 1, 2, 3, 4, 0])  # images 0 and 5 have the same target
        torch.testing.assert_close(LOSSES[name](s[order], t[order]).sum(), LOSSES[name](s, t).sum())

    def test_float32_agrees_with_float64(self, name: str) -> None:
        wide = LOSSES[name](logits(0), logits(1))
        narrow = LOSSES[name](logits(0, dtype=torch.float32), logits(1, dtype=torch.float32))
        torch.testing.assert_close(narrow.double(), wide, rtol=1e-4, atol=1e-5)

    def test_extreme_logits_stay_finite(self, name: str) -> None:
        s = (1e3 * logits(0, dtype=torch.float32)).requires_grad_()
        value = LOSSES[name](s, 1e3 * logits(1, dtype=torch.float32)).sum()
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(s.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_student_that_answers_all_alike_has_a_finite_gradient(name: str) -> None:
    s = torch.zeros(B, C, requires_grad=True)  # a head that starts at zero
    LOSSES[name](s, logits(1, dtype=torch.float32)).sum().backward()
    assert torch.isfinite(s.grad).all()


def test_divergence_is_that_of_torch() -> None:
    s, t = logits(0), logits(1)
    theirs = torch.nn.functional.kl_div(
        torch.log_softmax(s / 4, 1), torch.softmax(t / 4, 1), reduction="batchmean"
    )
    torch.testing.assert_close(softened_kl(s, t, temperature=4.0).mean(), 16 * theirs)


def test_temperature_squared_keeps_the_gradient() -> None:
    """At large T the gradient tends to (z_s - z_t) / C for centred logits (Hinton et al. 2015,
    equation 4).
    """
    s, t = logits(0), logits(1)
    s, t = s - s.mean(1, keepdim=True), t - t.mean(1, keepdim=True)
    s.requires_grad_()
    softened_kl(s, t, temperature=1e4).sum().backward()
    torch.testing.assert_close(s.grad, (s - t).detach() / C, rtol=1e-2, atol=1e-2)


def test_divergence_ignores_a_shift_and_renamed_classes() -> None:
    s, t = logits(0), logits(1)
    value = softened_kl(s, t, temperature=2.0)
    torch.testing.assert_close(softened_kl(s + 5, t - 3, temperature=2.0), value)
    order = torch.randperm(C)
    torch.testing.assert_close(softened_kl(s[:, order], t[:, order], temperature=2.0), value)


def test_a_mixture_of_teachers_has_the_gradient_of_their_mean_divergence() -> None:
    """Why probe_kd with equal weights is the equal-weight average."""
    teachers = [logits(1), logits(2)]
    mixed = (sum(torch.softmax(t, 1) for t in teachers) / 2).log()
    gradients = []
    for value in (
        lambda s: softened_kl(s, mixed, temperature=1.0),
        lambda s: sum(softened_kl(s, t, temperature=1.0) for t in teachers) / 2,
    ):
        s = logits(0).requires_grad_()
        value(s).sum().backward()
        gradients.append(s.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_standardised_forgets_shift_and_scale() -> None:
    z = logits(0)
    torch.testing.assert_close(standardised(7 * z + 3), standardised(z), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(standardised(z).mean(1), torch.zeros(B, dtype=torch.float64))
    torch.testing.assert_close(
        standardised(z).square().mean(1), torch.ones(B, dtype=torch.float64), rtol=1e-5, atol=0
    )
    assert torch.equal(standardised(torch.ones(2, C)), torch.zeros(2, C))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_decoupled_parts_add_up_to_the_divergence(temperature: float) -> None:
    s, t = logits(0), logits(1)
    parts = decoupled(s, t, TARGET, temperature=temperature)
    whole = softened_kl(s, t, temperature=temperature) / temperature**2
    torch.testing.assert_close(parts.target + parts.mass * parts.others, whole)


def test_others_do_not_see_the_target() -> None:
    s, t = logits(0), logits(1)
    moved = s.clone()
    moved[torch.arange(B), TARGET] += 4.0
    torch.testing.assert_close(
        decoupled(moved, t, TARGET, temperature=1.0).others,
        decoupled(s, t, TARGET, temperature=1.0).others,
    )
    assert (decoupled(s[:, :2], t[:, :2], TARGET % 2, temperature=1.0).others.abs() < 1e-12).all()


def test_correlation_ignores_a_positive_affine_map() -> None:
    a, b = logits(0), logits(1)
    value = correlation_distance(a, b)
    torch.testing.assert_close(correlation_distance(3 * a - 1, 0.2 * b + 9), value)
    torch.testing.assert_close(correlation_distance(b, a), value)  # symmetric
    torch.testing.assert_close(
        correlation_distance(-a, a), torch.full((B,), 2.0, dtype=torch.float64)
    )
    torch.testing.assert_close(
        1 - value,
        torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(a, b, strict=True)]),
    )


def test_standardised_error_is_one_minus_correlation() -> None:
    s, t = logits(0), logits(1)
    value = standardised_error(s, t, floor=0.0).mean()
    torch.testing.assert_close(value, correlation_distance(s.T, t.T).mean(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        standardised_error(10 * s + 3, t), standardised_error(s, t), rtol=1e-5, atol=1e-6
    )
    still = torch.cat([1e-6 * s[:, :1], s[:, 1:]], dim=1).requires_grad_()
    standardised_error(still, t).sum().backward()
    assert still.grad.abs().max() < 10


def test_confidence_prefers_who_knows_the_label() -> None:
    labels = torch.tensor([0, 1, 2, -1, -1, -1])
    good = 5 * torch.nn.functional.one_hot(labels.clamp(min=0) + 3 * (labels < 0), C).float()
    teachers = torch.stack([good, torch.zeros(B, C), -good])
    weights = confidence_weights(teachers, labels)
    assert weights.shape == (B, 3)
    torch.testing.assert_close(weights.sum(1), torch.ones(B))
    assert (weights >= 0).all()
    assert (weights[:3, 0] > weights[:3, 1]).all()
    assert (weights[:3, 1] > weights[:3, 2]).all()
    assert (weights[3:, 0] > weights[3:, 1]).all()  # without a label: the surer
    assert torch.equal(confidence_weights(teachers[:1], labels), torch.ones(B, 1))
    same = confidence_weights(torch.stack([good, good]), labels)
    torch.testing.assert_close(same, torch.full((B, 2), 0.5))


def test_confidence_is_the_papers_formula() -> None:
    teachers = torch.stack([logits(k) for k in range(3)]).float()
    labels = TARGET
    errors = torch.stack(
        [torch.nn.functional.cross_entropy(t, labels, reduction="none") for t in teachers]
    )
    expected = (1 - errors.exp() / errors.exp().sum(0)) / 2
    torch.testing.assert_close(confidence_weights(teachers, labels), expected.T)


def _batch(labels: torch.Tensor, **more: torch.Tensor) -> Batch:
    return Batch(view=torch.empty(B, 3, 1, 1), labels=labels, index=torch.arange(B), **more)


def test_task_term_counts_only_labelled_images() -> None:
    z = logits(0)
    labels = torch.tensor([0, -1, 2, -1, -1, 3])
    known = labels >= 0
    torch.testing.assert_close(
        task_term(z, _batch(labels)),
        torch.nn.functional.cross_entropy(z[known], labels[known]).float(),
    )
    empty = z.clone().requires_grad_()
    value = task_term(empty, _batch(torch.full((B,), -1)))
    value.backward()
    assert float(value.detach()) == 0
    assert torch.equal(empty.grad, torch.zeros_like(z))


def test_ordered_transport_is_the_optimal_transport_of_the_values() -> None:
    import ot

    torch.manual_seed(0)
    student, teacher = torch.randn(6, 5), torch.randn(6, 5)
    values = torch.tensor([0.5, 1.0, 2.0, 4.0, 4.5])
    found = ordered_transport(student, teacher, values)
    cost = (values[:, None] - values).abs().double().numpy()
    for row in range(6):
        p = torch.softmax(teacher[row].double(), 0).numpy()
        q = torch.softmax(student[row].double(), 0).numpy()
        expected = ot.emd2(p / p.sum(), q / q.sum(), cost) / 4.0
        assert float(found[row]) == pytest.approx(expected, abs=1e-5)


def test_ordered_transport_to_one_class_is_the_mean_absolute_error() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    student = torch.tensor([[0.3, 0.1, 0.2, 0.25, 0.15]]).log()
    certain = torch.full((1, 5), -100.0)
    certain[0, 3] = 100.0
    expected = (student.exp() * (values - 4).abs()).sum() / 4
    assert float(ordered_transport(student, certain, values)) == pytest.approx(float(expected))
