"""Laws of the batched transport on torch tensors, with POT as the oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.methods.transport import likeliest
from selection.scores.transport_plans import batch_transport_cost

B, C_T, C = 4, 7, 5


def draw(
    seed: int, *, dtype: torch.dtype = torch.float64, sharp: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    p = torch.softmax(sharp * torch.randn(B, C_T, generator=generator, dtype=torch.float64), dim=1)
    q = torch.softmax(sharp * torch.randn(B, C, generator=generator, dtype=torch.float64), dim=1)
    cost = torch.rand(C_T, C, generator=generator, dtype=torch.float64)
    return p.to(dtype), q.to(dtype), cost.to(dtype)


def exact(p: Tensor, q: Tensor, cost: Tensor) -> np.ndarray:
    import ot

    return np.array(
        [
            ot.emd2(a.numpy(), b.numpy(), cost.numpy())
            for a, b in zip(p, q / q.sum(1, keepdim=True), strict=True)
        ]
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.journey
def test_cost_is_at_least_exact_and_tends_to_it(seed: int) -> None:
    p, q, cost = draw(seed)
    truth = exact(p, q, cost)
    gaps = [
        batch_transport_cost(p, q, cost, eps=eps, iterations=1500).numpy() - truth
        for eps in (0.3, 0.1, 0.03, 0.01)
    ]
    assert all((gap > -1e-6).all() for gap in gaps)
    assert all((small <= large + 1e-9).all() for large, small in itertools.pairwise(gaps))
    assert gaps[-1].max() < 0.01


@pytest.mark.journey
@pytest.mark.parametrize("eps", [0.5, 0.1, 0.03, 0.01])
@pytest.mark.parametrize("per_pair", [False, True])
def test_a_batch_costs_what_each_pair_does(eps: float, per_pair: bool) -> None:
    """A batch has the costs of POT's solver on one pair at a time."""
    import ot

    p, q, cost = draw(1)
    matrices = cost.expand(B, C_T, C).contiguous()
    ours = batch_transport_cost(p, q, matrices if per_pair else cost, eps=eps, iterations=3000)
    for i in range(B):
        plan = ot.sinkhorn(
            p[i], q[i], cost, eps, method="sinkhorn_log", numItermax=3000, warn=False
        )
        torch.testing.assert_close(ours[i], (plan * cost).sum(), rtol=1e-5, atol=1e-7)


def converged(p: np.ndarray, logits: np.ndarray, cost: np.ndarray, eps: float) -> float:
    """<P_eps, M> of one pair by POT's unbatched solver, which knows no gradient here."""
    import ot
    from scipy.special import softmax

    plan = ot.sinkhorn(
        p,
        softmax(logits),
        cost,
        eps,
        method="sinkhorn_log",
        numItermax=100_000,
        stopThr=1e-13,
        warn=False,
    )
    return float((plan * cost).sum())


@pytest.mark.journey
@pytest.mark.parametrize("eps", [0.3, 0.1, 0.02])  # 0.02: in the log domain
def test_the_gradient_is_that_of_the_converged_cost(eps: float) -> None:
    """The gradient equals the central difference of POT's unbatched solver."""
    p, q, cost = draw(3)
    logits = q.log().requires_grad_()
    values = batch_transport_cost(p, torch.softmax(logits, dim=1), cost, eps=eps, iterations=5000)
    values.sum().backward()
    assert logits.grad is not None
    step, pair = 1e-4, 1
    start = logits[pair].detach().numpy()
    differences = []
    for direction in np.eye(C):
        ahead = converged(p[pair].numpy(), start + step * direction, cost.numpy(), eps)
        behind = converged(p[pair].numpy(), start - step * direction, cost.numpy(), eps)
        differences.append((ahead - behind) / (2 * step))
    np.testing.assert_allclose(logits.grad[pair], differences, rtol=1e-4, atol=1e-7)


def test_fifty_iterations_are_near_the_solution_between_label_spaces_of_usual_size() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.softmax(2 * torch.randn(16, n, generator=generator), dim=1) for n in (200, 20))
    teacher, task = (
        torch.nn.functional.normalize(torch.randn(n, 16, generator=generator), dim=1)
        for n in (200, 20)
    )
    cost = 1 - teacher @ task.T
    eps = 0.05 * float(cost.max())
    short, long = (
        batch_transport_cost(p, q, cost, eps=eps, iterations=iterations)
        for iterations in (50, 1000)
    )
    torch.testing.assert_close(short, long, rtol=1e-3, atol=1e-4)


def test_one_hot_target_needs_no_solver() -> None:
    p, _, cost = draw(5)
    target = torch.tensor([0, 2, 4, 2])
    one_hot = torch.nn.functional.one_hot(target, C).double()
    closed = (p[:, :, None] * cost).sum(dim=1)[torch.arange(B), target]
    for eps in (1.0, 0.05):
        torch.testing.assert_close(
            batch_transport_cost(p, one_hot, cost, eps=eps, iterations=5), closed
        )


def test_scales_with_the_cost_and_ignores_the_order_of_classes_and_samples() -> None:
    p, q, cost = draw(6)
    value = batch_transport_cost(p, q, cost, eps=0.1)
    torch.testing.assert_close(batch_transport_cost(p, q, 3 * cost, eps=0.3), 3 * value)
    rows, columns, samples = torch.randperm(C_T), torch.randperm(C), torch.randperm(B)
    torch.testing.assert_close(
        batch_transport_cost(p[:, rows], q[:, columns], cost[rows][:, columns], eps=0.1), value
    )
    torch.testing.assert_close(
        batch_transport_cost(p[samples], q[samples], cost, eps=0.1), value[samples]
    )
    torch.testing.assert_close(
        batch_transport_cost(p[:2], q[:2], cost, eps=0.1), value[:2]
    )  # chunked equals whole


def test_concave_in_the_cost_and_linear_against_one_hot() -> None:
    p, q, cost = draw(7)
    other = draw(8)[2]
    mixed = exact(p, q, (cost + other) / 2)
    assert (mixed >= (exact(p, q, cost) + exact(p, q, other)) / 2 - 1e-9).all()
    one_hot = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 3]), C).double()
    parts = [batch_transport_cost(p, one_hot, m, eps=0.1) for m in (cost, other, cost + other)]
    torch.testing.assert_close(parts[0] + parts[1], parts[2])


def test_the_gradient_of_a_sharp_student_is_finite() -> None:
    p, _, cost = draw(0, dtype=torch.float32, sharp=20.0)
    for scale, eps in itertools.product((10.0, 100.0, 1000.0), (0.05, 0.01)):
        logits = (
            scale * torch.randn(B, C, generator=torch.Generator().manual_seed(0))
        ).requires_grad_()
        batch_transport_cost(p, torch.softmax(logits, dim=1), cost, eps=eps).sum().backward()
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("eps", [0.5, 0.001])  # the kernel, the log domain
def test_answers_that_are_certain_leave_cost_and_gradient_finite(eps: float) -> None:
    _, _, cost = draw(0)
    p = torch.eye(C_T, dtype=torch.float64)[:B].requires_grad_()
    q = torch.eye(C, dtype=torch.float64)[:B].requires_grad_()
    found = batch_transport_cost(p, q, cost, eps=eps)
    np.testing.assert_allclose(found.detach(), cost[range(B), range(B)], atol=1e-6)
    found.sum().backward()
    assert p.grad is not None and q.grad is not None
    assert p.grad.isfinite().all() and q.grad.isfinite().all()


@pytest.mark.journey
def test_descending_the_cost_lowers_it() -> None:
    p, q, cost = draw(9, dtype=torch.float32)
    logits = q.log().requires_grad_()
    optimizer = torch.optim.SGD([logits], lr=2.0)
    values = []
    for _ in range(100):
        value = batch_transport_cost(p, torch.softmax(logits, dim=1), cost, eps=0.05).sum()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.8 * values[0]
    nearest = (p @ cost.min(dim=1).values).sum()  # no q can be nearer than each class's nearest
    assert values[-1] >= float(nearest) - 1e-4


def test_top_keeps_the_likeliest_and_bounds_the_error() -> None:
    p, q, cost = draw(4, sharp=3.0)
    assert likeliest(p, cost, C_T)[1] is cost
    kept, own = likeliest(p, cost, 4)
    assert kept.shape == (B, 4)
    assert own.shape == (B, 4, C)
    cut = 1 - p.topk(4, dim=1).values.sum(dim=1)
    torch.testing.assert_close(kept.sum(dim=1), torch.ones(B, dtype=torch.float64))
    near = np.array([exact(kept[i : i + 1], q[i : i + 1], own[i])[0] for i in range(B)])
    assert (np.abs(near - exact(p, q, cost)) <= (cut * cost.max()).numpy() + 1e-12).all()
    torch.testing.assert_close(
        batch_transport_cost(kept, q, own, eps=0.1)[1:2],
        batch_transport_cost(kept[1:2], q[1:2], own[1], eps=0.1),
    )


def test_float32_agrees_with_float64_and_inputs_are_unchanged() -> None:
    wide, narrow = draw(11), draw(11, dtype=torch.float32)
    before = [x.clone() for x in narrow]
    ours = batch_transport_cost(*narrow, eps=0.05)
    assert all(torch.equal(a, b) for a, b in zip(before, narrow, strict=True))
    assert torch.equal(ours, batch_transport_cost(*narrow, eps=0.05))
    torch.testing.assert_close(
        ours.double(), batch_transport_cost(*wide, eps=0.05), rtol=1e-4, atol=1e-5
    )
