"""Distillation across label spaces by optimal transport, after Selective Cross-Task
Distillation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill.batch import Batch, StudentState
from distill.methods.answers import ProbeTerm
from distill.methods.configs import TransportConfig
from distill.methods.losses import softened_kl
from distill.methods.recipe import Context, Recipe, task_term
from distill.teachers.ground_cost import carried
from distill.teachers.sinkhorn import top, transport_cost


class Transport(Recipe):
    """Cross-entropy + weight x transport + probe x the answers of the teachers' heads
    (``ProbeTerm``).

    ``form`` cost is the objective of Lu, Ye, Zhan 2022 (arXiv 2204.11526), sum_k w_k d_eps(p_k(x),
    q(x); M_k). Ours: each M_k is scaled to a largest value of 1, w = softmax(-c / sigma) of the
    mean costs c with sigma their standard deviation, both answers softened by one temperature, only
    the teacher's likeliest classes moved. ``form`` target (ours) distils what the plan between the
    teacher's mean answer and the class frequencies makes of its answer: the cost's gradient fades
    where the student is sure, that of a divergence does not. A teacher without a head answers
    through its probe, with costs between the task's own classes.
    """

    share: Tensor

    def __init__(self, config: TransportConfig, context: Context) -> None:
        super().__init__()
        self.config = config
        self.probe = ProbeTerm(config.probe, context)
        self.costs = [teacher.cost for teacher in context.teachers if teacher.cost is not None]
        for k, cost in enumerate(self.costs):
            self.register_buffer(f"plan_{k}", cost.plan)
            self.register_buffer(f"cost_{k}", cost.matrix / cost.matrix.max().clamp(min=1e-12))
        self.register_buffer("share", committee_weights([cost.mean for cost in self.costs]))

    def forward(self, batch: Batch, student: StudentState, *, progress: float) -> dict[str, Tensor]:
        config, logits = self.config, student.logits.float()
        q = torch.softmax(logits / config.temperature, dim=1)  # (B, C)
        moved = torch.zeros((), device=logits.device)
        for k, (known, answers) in enumerate(zip(self.costs, batch.answers, strict=True)):
            plan = self.get_buffer(f"plan_{k}")
            said = answers.probe_logits if plan is None else answers.logits
            assert said is not None
            if config.form == "target":
                target = (
                    said.float() if plan is None else carried(said, plan, known.sharpness)
                )  # (B, C)
                value = softened_kl(logits, target, temperature=1.0)
            else:
                p = torch.softmax(said.float() / config.temperature, dim=1)  # (B, C_t)
                p, cost = top(p, self.get_buffer(f"cost_{k}"), config.classes)
                value = transport_cost(p, q, cost, eps=config.eps, iterations=config.iterations)
            moved = moved + self.share[k] * value.mean()
        terms = {
            "cross_entropy": task_term(logits, batch.labels),
            "transport": config.weight * moved,
        }
        return {**terms, **self.probe(logits, batch)}

    def weights(self) -> list[float]:
        return [float(w) for w in self.share]


def committee_weights(costs: list[float]) -> Tensor:
    """softmax(-c / sigma) over the committee, (K,); equal where the costs are."""
    values = torch.tensor(costs, dtype=torch.float64)
    spread = values.std(correction=0)
    return torch.softmax(-values / spread if float(spread) > 1e-12 else 0 * values, dim=0).float()
