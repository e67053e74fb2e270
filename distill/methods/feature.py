"""Regression of the teachers' pooled features.

Shapes: B samples of a batch, K teachers, D_t features of a teacher.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distill.data.batch import Batch, StudentState
from distill.methods.answers import ProbeTerm
from distill.methods.configs import FeatureConfig
from distill.methods.losses import feature_distance
from distill.methods.recipe import Context, Recipe, task_term

LARGEST = 8.0  # of a standardised teacher feature, in standard deviations


class Feature(Recipe):
    """Cross-entropy + weight x the distance between connector(student features) and standardised
    teacher features.

    After FitNets (Romero et al. 2015, arXiv 1412.6550), here on pooled features: they need no
    common grid and are small enough to store. Ours: each channel of a teacher is standardised by
    its running mean and spread, and for each sample a teacher is left out with chance ``drop``,
    except the one that the student knows least of it (as in UNIC, Sariyildiz et al. 2024, arXiv
    2408.05088), so that the nearest teacher does not crowd out the others.
    """

    def __init__(self, config: FeatureConfig, context: Context) -> None:
        super().__init__()
        self.config, self.seed, self.steps = config, context.seed, 0
        self.probe = ProbeTerm(config.probe, context)
        self.connectors = nn.ModuleList()
        self.norms = nn.ModuleList()
        for teacher in context.teachers:
            width = teacher.feature_dim
            self.connectors.append(nn.Linear(context.feature_dim, width))
            self.norms.append(nn.BatchNorm1d(width, affine=False, momentum=config.momentum))

    def forward(
        self,
        batch: Batch,
        student: StudentState,
        *,
        progress: float,
    ) -> dict[str, Tensor]:
        features = student.features.float()
        distances = []
        modules = zip(
            self.connectors,
            self.norms,
            batch.teacher_outputs,
            strict=True,
        )
        for connector, norm, outputs in modules:
            assert outputs.features is not None
            target = self._standardised(norm, outputs.features.float())  # (B, D_t)
            distances.append(feature_distance(connector(features), target))
        by_teacher = torch.stack(distances, dim=1)  # (B, K)
        kept = self._kept(by_teacher.detach())
        by_sample = (by_teacher * kept).sum(dim=1) / kept.sum(dim=1)  # (B,)
        return {
            "cross_entropy": task_term(student.logits, batch),
            "feature": self.config.weight * by_sample.mean(),
            **self.probe(student.logits, batch),
        }

    @torch.no_grad()
    def _standardised(self, norm: Any, features: Tensor) -> Tensor:
        """``features`` (B, D_t) by the running mean and spread, which learn from them first."""
        if self.training and len(features) > 1:
            norm.momentum = max(self.config.momentum, 1 / (self.steps + 1))  # a plain mean at first
            norm(features)
        spread = (norm.running_var + norm.eps).sqrt()
        scaled: Tensor = (features - norm.running_mean) / spread
        return scaled.clamp(-LARGEST, LARGEST)

    def _kept(self, distances: Tensor) -> Tensor:
        """(B, K) of 0 and 1: who counts for which sample."""
        if not self.training:
            return torch.ones_like(distances)
        # a generator of its own: the draws depend on seed and step alone
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.steps) % 2**63)
        draws = torch.rand(distances.shape, generator=generator).to(distances.device)
        self.steps += 1
        hardest = distances == distances.max(dim=1, keepdim=True).values
        return ((draws >= self.config.drop) | hardest).float()

    def get_extra_state(self) -> Any:
        return self.steps

    def set_extra_state(self, state: Any) -> None:
        self.steps = int(state)
