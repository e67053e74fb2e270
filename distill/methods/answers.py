"""Distillation of the teachers' softened answers: kd, probe_kd with its variants, average and
ca_mkd.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from distill.batch import Batch, StudentState, TeacherOutputs
from distill.methods.configs import AnswersConfig
from distill.methods.losses import confidence_weights, decoupled, dist, softened_kl, standardised
from distill.methods.recipe import Context, Recipe, task_term
from zoo.errors import UserError


class ProbeTerm(nn.Module):
    """probe_kd's term for a recipe of another kind: ``weight`` x the KL from the teachers' probe
    answers, over all images.

    The task term of the papers needs labels; on unlabelled images this stands in for it (ours). 0
    leaves it out.
    """

    share: Tensor

    def __init__(self, weight: float, context: Context) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("share", fitted_shares(context))

    def forward(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``{"answers": ()}`` of ``logits`` (B, C), or nothing where the weight is 0."""
        if not self.weight:
            return {}
        terms = [
            softened_kl(logits.float(), answers.probe_logits.float(), temperature=1.0).mean()
            for answers in batch.answers
            if answers.probe_logits is not None
        ]
        return {"answers": self.weight * (torch.stack(terms) * self.share).sum()}

    def task(self, logits: Tensor, batch: Batch, rows: Tensor | None = None) -> Tensor:
        """The task term of a helping head: cross-entropy on labelled images, and this term on
        all.
        """
        if rows is not None:
            batch = replace(
                batch,
                view=batch.view[:0],
                labels=batch.labels[rows],
                index=batch.index[rows],
                answers=tuple(
                    TeacherOutputs(probe_logits=a.probe_logits[rows])
                    for a in batch.answers
                    if a.probe_logits is not None
                ),
            )
        terms: list[Tensor] = list(self(logits, batch).values())
        return torch.stack([task_term(logits, batch.labels), *terms]).sum()


def fitted_shares(context: Context) -> Tensor:
    """(K,) each teacher's share in the mixture of probe answers, summing to 1."""
    weights = torch.tensor([teacher.weight for teacher in context.teachers])
    return weights / weights.sum()


class AnswersRecipe(Recipe):
    """``task`` x cross-entropy + ``weight`` x the teachers' weighted loss, over all images.

    The answers are those of each teacher's probe head, or of its own head at the task's columns.
    """

    share: Tensor

    def __init__(self, config: AnswersConfig, context: Context) -> None:
        super().__init__()
        if config.weighting == "confidence" and config.loss != "kl":
            raise UserError(
                f"weighting=confidence weighs single images, which loss={config.loss} does not"
                " have: use loss=kl"
            )
        self.config = config
        self.columns = [
            list(t.columns) if t.columns is not None else None for t in context.teachers
        ]
        fitted = fitted_shares(context)
        self.register_buffer(
            "share",
            fitted if config.weighting == "fitted" else torch.full_like(fitted, 1 / len(fitted)),
        )

    def forward(self, batch: Batch, student: StudentState, *, progress: float) -> dict[str, Tensor]:
        config, logits = self.config, student.logits.float()
        teachers = self._teachers(batch)
        if config.weighting == "confidence":
            share = confidence_weights(torch.stack(teachers), batch.labels)  # (B, K)
            self.share = share.detach().mean(dim=0)
        else:
            share = self.share
        terms = [
            self._loss(logits, teacher, batch.labels, progress) for teacher in teachers
        ]  # K of (B,) or ()
        loss = (torch.stack(terms, dim=-1) * share).sum(dim=-1).mean()
        return {
            "cross_entropy": config.task * task_term(logits, batch.labels),
            "answers": config.weight * loss,
        }

    def weights(self) -> list[float]:
        return [float(w) for w in self.share]

    def _teachers(self, batch: Batch) -> list[Tensor]:
        if self.config.answers == "probe_logits":
            teachers = [a.probe_logits for a in batch.answers]
        else:
            teachers = [
                None if a.logits is None or c is None else a.logits[:, c]
                for a, c in zip(batch.answers, self.columns, strict=True)
            ]
        return [logits.float() for logits in teachers if logits is not None]

    def _loss(self, student: Tensor, teacher: Tensor, labels: Tensor, progress: float) -> Tensor:
        config, temperature = self.config, self.config.temperature
        if config.loss == "kl":
            return softened_kl(student, teacher, temperature=temperature)
        if config.loss == "standardised":
            return softened_kl(
                standardised(student), standardised(teacher), temperature=temperature
            )
        if config.loss == "dist":
            between, within = dist(student, teacher, temperature=temperature)
            return config.between * between.mean() + config.within * within.mean()
        # Without a label the teacher's own choice is the target (ours: the paper has labels
        # everywhere).
        target = torch.where(labels >= 0, labels, teacher.argmax(dim=1))
        parts = decoupled(student, teacher, target, temperature=temperature)
        rise = min(1.0, progress / config.warmup) if config.warmup > 0 else 1.0
        return rise * temperature**2 * (config.target * parts.target + config.others * parts.others)
