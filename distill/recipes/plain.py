"""Cross-entropy only: the control of every run."""

from __future__ import annotations

from torch import Tensor

from distill.methods import PlainConfig
from distill.recipe import Batch, Recipe, StudentState, task_term


class Plain(Recipe):
    """The student alone, on the labelled images."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, batch: Batch, student: StudentState, *, progress: float) -> dict[str, Tensor]:
        return {"cross_entropy": task_term(student.logits, batch.labels, smoothing=self.config.smoothing)}
