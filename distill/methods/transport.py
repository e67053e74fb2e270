"""Distillation across label spaces by optimal transport, after Selective Cross-Task Distillation.

Shapes: B samples of a batch, C classes of the task, C_t of a teacher, K teachers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill.data.batch import Batch, StudentState, TeacherOutputs
from distill.methods.answers import ProbeTerm
from distill.methods.configs import TransportConfig
from distill.methods.losses import ordered_transport, softened_kl
from distill.methods.recipe import Context, Recipe, task_term
from distill.teachers.ground_cost import carried
from selection.scores.transport_plans import batch_transport_cost


class Transport(Recipe):
    """Cross-entropy + weight x transport + probe x the KL from the teachers' heads (``ProbeTerm``).

    ``form`` cost is the objective of Lu, Ye, Zhan 2022 (arXiv 2204.11526), sum_k w_k d_eps(p_k(x),
    q(x); M_k). Ours: each M_k is scaled to a largest value of 1, w = softmax(-c / sigma) of the
    mean costs c with sigma their standard deviation, both answers softened by one temperature, only
    the teacher's likeliest classes moved. ``form`` target (ours) distils what the plan between the
    teacher's mean answer and the class frequencies makes of its answer: the cost's gradient fades
    where the student is sure, that of a divergence does not. A teacher without a head answers
    through its probe, with costs between the task's own classes; where these are ordered, as stars
    are, the cost is the distance of their values and the transport has a closed form
    (`losses.ordered_transport`), whatever the ``form``.
    """

    share: Tensor
    values: Tensor | None

    def __init__(self, config: TransportConfig, context: Context) -> None:
        super().__init__()
        self.config = config
        self.probe = ProbeTerm(config.probe, context)
        costs = [
            teacher.ground_cost() for teacher in context.teachers if teacher.ground_cost is not None
        ]
        values = None if context.values is None else torch.tensor(context.values)
        self.register_buffer("values", values)
        self.sharpness = [cost.sharpness for cost in costs]
        for k, cost in enumerate(costs):
            self.register_buffer(f"plan_{k}", cost.plan)
            self.register_buffer(f"cost_{k}", cost.matrix / cost.matrix.max().clamp(min=1e-12))
        self.register_buffer("share", committee_weights([cost.mean for cost in costs]))

    def forward(
        self,
        batch: Batch,
        student: StudentState,
        *,
        progress: float,
    ) -> dict[str, Tensor]:
        logits = student.logits.float()  # (B, C)
        distance = torch.zeros((), device=logits.device)
        for k, outputs in enumerate(batch.teacher_outputs):
            distances = self._distances(k, outputs, logits)  # (B,)
            distance = distance + self.share[k] * distances.mean()
        return {
            "cross_entropy": task_term(logits, batch),
            "transport": self.config.weight * distance,
            **self.probe(logits, batch),
        }

    def _distances(
        self,
        k: int,
        outputs: TeacherOutputs,
        logits: Tensor,
    ) -> Tensor:
        """(B,) between the student's ``logits`` (B, C) and the answer of teacher ``k``."""
        plan = self.get_buffer(f"plan_{k}")
        answer = outputs.probe_logits if plan is None else outputs.logits
        assert answer is not None
        answer = answer.float()  # (B, C_t)
        if plan is None and self.values is not None:
            return ordered_transport(logits, answer, self.values)
        if self.config.form == "cost":
            return self._transport_cost(answer, logits, self.get_buffer(f"cost_{k}"))
        target = answer if plan is None else carried(answer, plan, self.sharpness[k])
        return softened_kl(logits, target, temperature=1.0)

    def _transport_cost(
        self,
        answer: Tensor,
        logits: Tensor,
        cost: Tensor,
    ) -> Tensor:
        """(B,) cost of carrying a teacher's softened answer to the student's."""
        config = self.config
        p = torch.softmax(answer / config.temperature, dim=1)
        q = torch.softmax(logits / config.temperature, dim=1)
        p, cost = likeliest(p, cost, config.classes)
        return batch_transport_cost(
            p,
            q,
            cost,
            eps=config.eps,
            iterations=config.iterations,
        )

    def weights(self) -> list[float]:
        return [float(w) for w in self.share]


def committee_weights(costs: list[float]) -> Tensor:
    """softmax(-c / sigma) over the committee, (K,); equal where the costs are."""
    values = torch.tensor(costs, dtype=torch.float64)
    spread = values.std(correction=0)
    scores = -values / spread if float(spread) > 1e-12 else torch.zeros_like(values)
    return torch.softmax(scores, dim=0).float()


def likeliest(p: Tensor, cost: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` likeliest classes of each row of ``p`` (B, C_t), and their rows of ``cost``.

    ``cost`` is (C_t, C); returns (B, count), renormalised, and (B, count, C).

    What is cut off moves the transport cost by at most its mass times max(cost). A count >= C_t
    returns the input.
    """
    if count >= p.shape[1]:
        return p, cost
    kept, index = p.topk(count, dim=1)
    return kept / kept.sum(dim=1, keepdim=True), cost[index]
