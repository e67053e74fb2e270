"""Regression of the teachers' pooled features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distill.batch import Batch, StudentState
from distill.methods.answers import ProbeTerm
from distill.methods.configs import FeatureConfig
from distill.methods.losses import feature_distance
from distill.methods.recipe import Context, Recipe, task_term


class Feature(Recipe):
    """Cross-entropy + weight x the distance between connector(student features) and standardised
    teacher features.

    After FitNets (Romero et al. 2015, arXiv 1412.6550), here on pooled features: they need no
    common grid and are small enough to store. Ours: each channel of a teacher is standardised by
    its running mean and spread, and for each image a teacher is left out with chance ``drop``,
    except the one that the student knows least of it (as in UNIC, Sariyildiz et al. 2024, arXiv
    2408.05088), so that the nearest teacher does not crowd out the others.
    """

    def __init__(self, config: FeatureConfig, context: Context) -> None:
        super().__init__()
        self.config, self.seed, self.steps = config, context.seed, 0
        self.probe = ProbeTerm(config.probe, context)
        widths = [teacher.feature_dim for teacher in context.teachers]
        self.connectors = nn.ModuleList(nn.Linear(context.feature_dim, width) for width in widths)
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(width, affine=False, momentum=config.momentum) for width in widths
        )

    def forward(self, batch: Batch, student: StudentState, *, progress: float) -> dict[str, Tensor]:
        features = student.features.float()
        distances = torch.stack(
            [
                feature_distance(connector(features), self._standardised(norm, answers.features))
                for connector, norm, answers in zip(
                    self.connectors, self.norms, batch.answers, strict=True
                )
            ],
            dim=1,
        )  # (B, K)
        kept = self._kept(distances.detach())
        value = ((distances * kept).sum(dim=1) / kept.sum(dim=1)).mean()
        terms = {
            "cross_entropy": task_term(student.logits, batch.labels),
            "feature": self.config.weight * value,
        }
        return {**terms, **self.probe(student.logits, batch)}

    def _standardised(self, norm: Any, features: Tensor | None) -> Tensor:
        assert features is not None
        features = features.float()
        with torch.no_grad():
            if self.training:
                norm.momentum = max(
                    self.config.momentum, 1 / (self.steps + 1)
                )  # a plain mean at first
                norm(features) if len(features) > 1 else None
            spread = (norm.running_var + norm.eps).sqrt()
            scaled: Tensor = (features - norm.running_mean) / spread
            return scaled.clamp(-8, 8)

    def _kept(self, distances: Tensor) -> Tensor:
        """(B, K) of 0 and 1: who counts for which image."""
        if not self.training:
            return torch.ones_like(distances)
        generator = torch.Generator().manual_seed(
            (self.seed * 1_000_003 + self.steps) % 2**63
        )  # whatever was drawn before
        draws = torch.rand(distances.shape, generator=generator).to(distances.device)
        self.steps += 1
        hardest = distances == distances.max(dim=1, keepdim=True).values
        return ((draws >= self.config.drop) | hardest).float()

    def get_extra_state(self) -> Any:
        return self.steps

    def set_extra_state(self, state: Any) -> None:
        self.steps = int(state)
