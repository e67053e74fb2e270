"""Distillation of the teachers' softened answers: kd, probe_kd with its variants, average and ca_mkd."""

from __future__ import annotations

import torch
from torch import Tensor

from distill.losses.confidence import confidence_weights
from distill.losses.correlation import dist
from distill.losses.decoupled import decoupled
from distill.losses.divergence import softened_kl, standardised
from distill.methods import AnswersConfig
from distill.recipe import Batch, Context, Recipe, StudentState, task_term
from zoo.errors import UserError


class AnswersRecipe(Recipe):
    """``task`` x cross-entropy + ``weight`` x the teachers' weighted loss, over all images.

    The answers are those of each teacher's probe head, or of its own head at the task's columns.
    """

    share: Tensor

    def __init__(self, config: AnswersConfig, context: Context) -> None:
        super().__init__()
        if config.weighting == "confidence" and config.loss != "kl":
            raise UserError(f"weighting=confidence weighs single images, which loss={config.loss} does not have: use loss=kl")
        self.config = config
        self.columns = [list(t.columns) if t.columns is not None else None for t in context.teachers]
        weights = torch.tensor([1.0 if t.weight is None else t.weight for t in context.teachers])
        if config.weighting != "fitted" or float(weights.sum()) <= 0:
            weights = torch.ones_like(weights)
        self.register_buffer("share", weights / weights.sum())  # (K,)

    def forward(self, batch: Batch, student: StudentState, *, progress: float) -> dict[str, Tensor]:
        config, logits = self.config, student.logits.float()
        teachers = self._teachers(batch)
        if config.weighting == "confidence":
            share = confidence_weights(torch.stack(teachers), batch.labels)  # (B, K)
            self.share = share.detach().mean(dim=0)
        else:
            share = self.share
        terms = [self._loss(logits, teacher, batch.labels, progress) for teacher in teachers]  # K of (B,) or ()
        loss = (torch.stack(terms, dim=-1) * share).sum(dim=-1).mean()
        return {"cross_entropy": config.task * task_term(logits, batch.labels), "answers": config.weight * loss}

    def weights(self) -> list[float]:
        return [float(w) for w in self.share]

    def _teachers(self, batch: Batch) -> list[Tensor]:
        if self.config.answers == "probe_logits":
            found = [a.probe_logits for a in batch.answers]
        else:
            found = [None if a.logits is None or c is None else a.logits[:, c]
                     for a, c in zip(batch.answers, self.columns, strict=True)]
        return [logits.float() for logits in found if logits is not None]

    def _loss(self, student: Tensor, teacher: Tensor, labels: Tensor, progress: float) -> Tensor:
        config, temperature = self.config, self.config.temperature
        if config.loss == "kl":
            return softened_kl(student, teacher, temperature=temperature)
        if config.loss == "standardised":
            return softened_kl(standardised(student), standardised(teacher), temperature=temperature)
        if config.loss == "dist":
            between, within = dist(student, teacher, temperature=temperature)
            return config.between * between.mean() + config.within * within.mean()
        # Without a label the teacher's own choice is the target (ours: the paper has labels everywhere).
        target = torch.where(labels >= 0, labels, teacher.argmax(dim=1))
        parts = decoupled(student, teacher, target, temperature=temperature)
        rise = min(1.0, progress / config.warmup) if config.warmup > 0 else 1.0
        return rise * temperature**2 * (config.target * parts.target + config.others * parts.others)
