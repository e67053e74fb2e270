"""Distillation of the teachers' softened answers: kd, probe_kd and its variants, average, ca_mkd.

Shapes: B samples of a batch, C classes of the task, K teachers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill.data.batch import Batch, StudentState, TeacherOutputs
from distill.methods.configs import AnswersConfig
from distill.methods.losses import confidence_weights, decoupled, dist, softened_kl, standardised
from distill.methods.recipe import Context, Recipe, task_term
from zoo.errors import UserError


class ProbeTerm(nn.Module):
    """probe_kd's term for a recipe of another kind, over all samples.

    ``weight`` x the KL from the teachers' probe logits. The task term of the papers needs labels;
    on unlabelled samples this stands in for it (ours). 0 leaves it out.
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
        terms = []
        for probe_logits in _probe_logits(batch.teacher_outputs):
            divergence = softened_kl(logits.float(), probe_logits.float(), temperature=1.0)  # (B,)
            terms.append(divergence.mean())
        return {"answers": self.weight * (torch.stack(terms) * self.share).sum()}

    def task(self, logits: Tensor, batch: Batch) -> Tensor:
        """The task term of a helping head: cross-entropy on labelled samples, this term on all."""
        return sum(self(logits, batch).values(), start=task_term(logits, batch))


def _probe_logits(outputs: tuple[TeacherOutputs, ...]) -> list[Tensor]:
    """(B, C) of each teacher."""
    return [teacher.probe_logits for teacher in outputs if teacher.probe_logits is not None]


def fitted_shares(context: Context) -> Tensor:
    """(K,) each teacher's share in the mixture of probe answers, summing to 1."""
    weights = torch.tensor([teacher.weight for teacher in context.teachers])
    return weights / weights.sum()


class AnswersRecipe(Recipe):
    """``task`` x cross-entropy + ``weight`` x the teachers' weighted loss, over all samples.

    The answers are those of each teacher's probe head, or of its own head at the task's columns.
    """

    share: Tensor

    def __init__(self, config: AnswersConfig, context: Context) -> None:
        super().__init__()
        if config.weighting == "confidence" and config.loss != "kl":
            raise UserError(
                f"weighting=confidence weighs single samples, which loss={config.loss} does not"
                " have: use loss=kl"
            )
        self.config = config
        self.columns = [list(teacher.columns or ()) for teacher in context.teachers]
        share = fitted_shares(context)
        if config.weighting != "fitted":
            share = torch.full_like(share, 1 / len(share))
        self.register_buffer("share", share)

    def forward(
        self,
        batch: Batch,
        student: StudentState,
        *,
        progress: float,
    ) -> dict[str, Tensor]:
        config = self.config
        logits = student.logits.float()
        teachers = self._teacher_logits(batch.teacher_outputs)
        share = self.share  # (K,)
        if config.weighting == "confidence":
            share = confidence_weights(torch.stack(teachers), batch.labels)  # (B, K)
            self.share = share.detach().mean(dim=0)
        # (B,) of each teacher, or () where the loss is one of the whole batch
        losses = [
            self._loss(
                logits,
                teacher,
                batch.labels,
                progress,
            )
            for teacher in teachers
        ]
        weighted = torch.stack(losses, dim=-1) * share
        return {
            "cross_entropy": config.task * task_term(logits, batch),
            "answers": config.weight * weighted.sum(dim=-1).mean(),
        }

    def weights(self) -> list[float]:
        return [float(share) for share in self.share]

    def _teacher_logits(self, outputs: tuple[TeacherOutputs, ...]) -> list[Tensor]:
        """(B, C) of each teacher, in the task's label space."""
        if self.config.answers == "probe_logits":
            return [logits.float() for logits in _probe_logits(outputs)]
        logits = []
        for teacher, columns in zip(outputs, self.columns, strict=True):
            assert teacher.logits is not None
            logits.append(teacher.logits[:, columns].float())
        return logits

    def _loss(
        self,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        progress: float,
    ) -> Tensor:
        config, temperature = self.config, self.config.temperature
        if config.loss == "kl":
            return softened_kl(student, teacher, temperature=temperature)
        if config.loss == "standardised":
            student, teacher = standardised(student), standardised(teacher)
            return softened_kl(student, teacher, temperature=temperature)
        if config.loss == "dist":
            parts = dist(student, teacher, temperature=temperature)
            return config.between * parts.between.mean() + config.within * parts.within.mean()
        return self._decoupled(student, teacher, labels, progress)

    def _decoupled(
        self, student: Tensor, teacher: Tensor, labels: Tensor, progress: float
    ) -> Tensor:
        """(B,). Without a label the teacher's own class is the target (ours)."""
        config, temperature = self.config, self.config.temperature
        target = torch.where(labels >= 0, labels, teacher.argmax(dim=1))
        parts = decoupled(student, teacher, target, temperature=temperature)
        divergence = config.target * parts.target + config.others * parts.others
        rise = min(1.0, progress / config.warmup) if config.warmup > 0 else 1.0
        return rise * temperature**2 * divergence
