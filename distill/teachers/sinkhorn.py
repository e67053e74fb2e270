"""Optimal transport between a teacher's answers and the student's, in batches and with gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SCALING_RANGE = 40.0  # max(M) / eps up to which exp(-M / eps) is safe in float32 (exp(-40) = 4e-18)


def plan(p: Tensor, q: Tensor, cost: Tensor, *, eps: float, iterations: int = 50) -> Tensor:
    """The entropic transport plans (B, C_t, C) of B pairs, by Sinkhorn iterations (Cuturi 2013,
    arXiv 1306.0895).

    ``p`` (B, C_t) and ``q`` (B, C), rows of the simplex; ``cost`` (C_t, C) shared, or (B, C_t, C),
    >= 0; ``eps`` > 0 in the cost's units. The last half-step meets q, so column sums are exact and
    row sums approximate. Where max(cost) / eps permits, the iteration scales the kernel exp(-cost /
    eps) by products of matrices, else it stays in the log domain; both give the same numbers.
    Differentiable by unrolling; see ``transport_cost`` for the short way.
    """
    scaled = cost / eps
    if (
        float(scaled.detach().max()) <= SCALING_RANGE
    ):  # waits for the device once; the log domain costs far more
        return _by_scaling(p, q, scaled, iterations)
    return _in_logs(p, q, scaled, iterations)


def _by_scaling(p: Tensor, q: Tensor, scaled: Tensor, iterations: int) -> Tensor:
    kernel = torch.exp(-scaled)  # (C_t, C) or (B, C_t, C)
    tiny = torch.finfo(p.dtype).tiny
    a, b = torch.ones_like(p), torch.ones_like(q)
    for _ in range(iterations):
        a = p / _times(kernel, b).clamp(min=tiny)  # (B, C_t)
        b = q / _times(kernel.mT, a).clamp(min=tiny)  # (B, C)
    return a[:, :, None] * kernel * b[:, None, :]


def _times(matrix: Tensor, vectors: Tensor) -> Tensor:
    """Each row of ``vectors`` (B, m) times the shared ``matrix`` (n, m), or its own (B, n, m): (B,
    n).
    """
    return vectors @ matrix.T if matrix.ndim == 2 else torch.einsum("bnm,bm->bn", matrix, vectors)


def _in_logs(p: Tensor, q: Tensor, scaled: Tensor, iterations: int) -> Tensor:
    log_p, log_q = p.log(), q.log()
    u, v = torch.zeros_like(p), torch.zeros_like(q)
    for _ in range(iterations):
        u = log_p - torch.logsumexp(v[:, None, :] - scaled, dim=2)  # (B, C_t)
        v = log_q - torch.logsumexp(u[:, :, None] - scaled, dim=1)  # (B, C)
    return torch.exp(u[:, :, None] + v[:, None, :] - scaled)


def transport_cost(
    p: Tensor, q: Tensor, cost: Tensor, *, eps: float, iterations: int = 50
) -> Tensor:
    """d_eps(p, q; M) = <P_eps, M> of each pair; (B,) in the cost's units, >= W(p, q; M). Gradient
    for ``q`` alone.

    Arguments as in ``plan``. The gradient is that of the converged problem, by the implicit
    function theorem: with a = (P * M) 1, b = (P * M)^T 1 it is the m of ``diag(p) l + P m = a, P^T
    l + diag(q) m = b``, which takes one (C, C) system a pair instead of the memory of all
    iterations. It is defined up to a constant a row (q stays in the simplex), and the row mean is
    taken out; so it agrees with unrolling after a softmax (ours).
    """
    result: Tensor = _TransportCost.apply(p, q, cost, eps, iterations)
    return result


class _TransportCost(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, p: Tensor, q: Tensor, cost: Tensor, eps: float, iterations: int
    ) -> Tensor:
        moved = plan(p, q, cost, eps=eps, iterations=iterations)  # (B, C_t, C)
        ctx.save_for_backward(q, cost, moved)
        return (moved * cost).sum(dim=(1, 2))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, cost, moved = ctx.saved_tensors
        tiny = torch.finfo(q.dtype).tiny
        rows = moved.sum(dim=2).clamp(min=tiny)  # (B, C_t): p, as far as converged
        given = moved / rows[:, :, None]  # (B, C_t, C): where each of the teacher's classes goes
        taken = (
            moved / q.clamp(min=tiny)[:, None, :]
        )  # (B, C_t, C): where each of the task's classes comes from
        paid = (given * cost).sum(dim=2)  # (B, C_t)
        right = (taken * cost).sum(dim=1) - torch.einsum("bij,bi->bj", taken, paid)  # (B, C)
        # There and back is a Markov chain over the task's classes that keeps q; I - chain has null
        # vector 1.
        chain = torch.einsum("bij,bik->bjk", taken, given).double()  # (B, C, C)
        eye = torch.eye(q.shape[1], dtype=torch.float64, device=q.device)
        slope = torch.linalg.solve(eye - chain + q.double()[:, None, :], right.double()).to(
            q.dtype
        )  # (B, C)
        return None, grads[0][:, None] * (slope - slope.mean(dim=1, keepdim=True)), None, None, None


def top(p: Tensor, cost: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """The ``m`` likeliest teacher classes of each row: ``(p (B, m) renormalised, cost (B, m, C))``.

    What is cut off moves the transport cost by at most its mass times max(cost). m >= C_t returns
    the input.
    """
    if m >= p.shape[1]:
        return p, cost
    kept, index = p.topk(m, dim=1)
    return kept / kept.sum(dim=1, keepdim=True), cost[index]
