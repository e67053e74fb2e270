"""A new method: each image is taught by the teacher that is surest of it. Copy and change it.

python examples/new_method.py mydata ranking.json run
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from distill.data.batch import Batch, StudentState
from distill.methods.recipe import Context, Recipe, task_term
from distill.methods.registry import METHODS, Method
from distill.options import TrainOptions
from distill.train import train_student


@dataclass(frozen=True, kw_only=True)
class SurestConfig:
    """Settings with their defaults; ``--set weight=2`` changes one."""

    weight: float = 10.0


class Surest(Recipe):
    """Cross-entropy on labels + weight x KL from the probe head of the surest teacher."""

    def __init__(self, config: SurestConfig, context: Context) -> None:
        super().__init__()
        self.config = config

    def forward(self, batch: Batch, student: StudentState, *, progress: float) -> dict[str, Tensor]:
        heads = [outputs.probe_logits for outputs in batch.teacher_outputs]
        log_p = torch.stack([h for h in heads if h is not None]).float().log_softmax(2)  # (K, B, C)
        entropy = -(log_p.exp() * log_p).sum(2)  # (K, B)
        surest = entropy.argmin(0)  # (B,)
        target = log_p[surest, torch.arange(len(surest), device=surest.device)]  # (B, C)
        log_q = student.logits.float().log_softmax(1)  # (B, C)
        divergence = (target.exp() * (target - log_q)).sum(1).mean()  # ()
        return {
            "cross_entropy": task_term(student.logits, batch),
            "surest": self.config.weight * divergence,
        }


METHODS["surest"] = Method(SurestConfig(), f"{__name__}:Surest", frozenset({"probe_logits"}))

if __name__ == "__main__":
    task, ranking, out = sys.argv[1:4]
    options = TrainOptions(
        task=task,
        ranking=ranking,
        student="test_resnet",
        method="surest",
        epochs=2,
        out=Path(out),
    )
    raise SystemExit(train_student(options))
