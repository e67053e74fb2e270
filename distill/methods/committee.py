"""DiverseDistill: the student asks a committee of teachers questions, and weighs their answers.

Shapes: B samples of a batch, b of them that a teacher is run for, K teachers, g x g positions of a
grid, c channels of the student's last map, c_t of a teacher's lower state, D_s student features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from distill.data.batch import Batch, StudentState, TeacherOutputs
from distill.methods.answers import ProbeTerm
from distill.methods.configs import CommitteeConfig
from distill.methods.losses import standardised_error
from distill.methods.recipe import Context, Recipe, task_term
from distill.methods.states import TeacherState, mlp, on_grid, position_mlp
from distill.teachers.info import TeacherInfo


class CommitteeTeacher(nn.Module):
    """One teacher: question into its hidden space, its frozen layers, answer MLP back."""

    def __init__(
        self, info: TeacherInfo, config: CommitteeConfig, context: Context, *, seed: int
    ) -> None:
        super().__init__()
        assert info.splitter is not None
        splitter = info.splitter.shuffled(seed) if config.random else None
        self.state = TeacherState(info, splitter=splitter)
        channels = self.state.splitter.channels
        question_inputs = context.hidden_shape[0] + config.embedding
        self.question = position_mlp(question_inputs, channels, config.width)
        self.answer = mlp(info.feature_dim, context.feature_dim, config.width)
        self.relevance = nn.Linear(channels, context.num_classes)


class CommitteeRecipe(Recipe):
    """Cross-entropy + distance ||h - stop(a)||^2 + relevance [mean_i CE(head(q_i)) + CE(head(a))].

    After Liu et al. 2024 (arXiv 2402.14035): teacher embeddings E, one question a teacher from the
    student's hidden state, the frozen upper layers of the teacher, one answer MLP a teacher,
    importance weights alpha = softmax(E W x / sqrt d), a task term, and teachers skipped for the
    samples for which they weigh little. Our reading: x is the last map on a grid (its mean for
    alpha), questions are made at each position, an answer is the teacher's pooled features mapped
    into the student's pooled features h, both standardised over the batch for the distance, head(a)
    is a linear layer of the module.
    """

    def __init__(self, config: CommitteeConfig, context: Context) -> None:
        super().__init__()
        self.config, self.grid = config, context.grid
        self.probe = ProbeTerm(config.probe, context)
        count, width = len(context.teachers), config.embedding
        self.embedding = nn.Parameter(torch.randn(count, width))  # E (K, d)
        self.importance = nn.Linear(context.hidden_shape[0], width, bias=False)  # W
        self.members = nn.ModuleList()
        for k, info in enumerate(context.teachers):
            self.members.append(
                CommitteeTeacher(
                    info,
                    config,
                    context,
                    seed=context.seed + k,
                )
            )
        self.head = nn.Linear(context.feature_dim, context.num_classes)
        self.mean_share = [1 / count] * count
        self._forwards = self._possible_forwards = 0

    def forward(
        self,
        batch: Batch,
        student: StudentState,
        *,
        progress: float,
    ) -> dict[str, Tensor]:
        members = cast("list[CommitteeTeacher]", list(self.members))
        for member, outputs in zip(members, batch.teacher_outputs, strict=True):
            if member.state.learning:
                member.state.standardised(outputs)
        x = on_grid(student.hidden, self.grid)  # (B, c, g, g)
        alpha = self._importance(x, progress)  # (B, K), 0 where a teacher is skipped
        self._possible_forwards += alpha.numel()
        self.mean_share = alpha.detach().mean(dim=0).tolist()
        answer = torch.zeros_like(student.features, dtype=torch.float32)  # (B, D_s)
        relevance = torch.zeros((), device=x.device)
        for k, member in enumerate(members):
            rows = alpha[:, k].detach().nonzero()[:, 0]  # (b,)
            self._forwards += len(rows)
            if len(rows) == 0:
                continue
            question = self._question(member, k, x[rows])  # (b, c_t, g, g)
            with torch.set_grad_enabled(self.config.through):
                features = member.state.features_from(question)
            weighted = alpha[rows, k : k + 1] * member.answer(features)  # (b, D_s)
            answer = answer.index_add(0, rows, weighted)
            question_logits = member.relevance(question.mean(dim=(2, 3)))  # (b, C)
            relevance = relevance + self.probe.task(question_logits, _part(batch, rows))
        relevance = relevance / len(members) + self.probe.task(self.head(answer), batch)
        distance = standardised_error(student.features.float(), answer.detach()).mean()
        return {
            "cross_entropy": task_term(student.logits, batch),
            "distance": self.config.distance * distance,
            "relevance": self.config.relevance * relevance,
            **self.probe(student.logits, batch),
        }

    def weights(self) -> list[float]:
        return self.mean_share

    def metrics(self) -> Mapping[str, float]:
        """``skipped``: the share of teacher forwards left out since the last call.

        A forward is one of one teacher on one sample.
        """
        share = self._forwards / self._possible_forwards if self._possible_forwards else 1.0
        self._forwards = self._possible_forwards = 0
        return {"skipped": 1 - share}

    def _importance(self, x: Tensor, progress: float) -> Tensor:
        """alpha (B, K), rows sum to 1."""
        query = self.importance(x.mean(dim=(2, 3)))  # (B, d)
        scores = query @ self.embedding.T / math.sqrt(self.embedding.shape[1])  # (B, K)
        alpha = torch.softmax(scores, dim=1)
        if progress < self.config.warmup:
            return alpha
        count = len(self.members)
        # below 1 / K, so that no sample is left without a teacher
        least = min(self.config.threshold / count, 1 / count - 1e-6)
        alpha = alpha * (alpha >= least)
        return alpha / alpha.sum(dim=1, keepdim=True)

    def _question(
        self,
        member: CommitteeTeacher,
        k: int,
        x: Tensor,
    ) -> Tensor:
        """q (b, c_t, g, g), in units of the teacher's own states."""
        embedding = self.embedding[k][None, :, None, None]  # (1, d, 1, 1)
        everywhere = embedding.expand(len(x), -1, *x.shape[2:])  # (b, d, g, g)
        question: Tensor = member.question(torch.cat([x, everywhere], dim=1))
        return question


def _part(batch: Batch, rows: Tensor) -> Batch:
    """The samples ``rows`` (b,) of a batch, as far as ``ProbeTerm.task`` reads them."""
    outputs = []
    for teacher in batch.teacher_outputs:
        assert teacher.probe_logits is not None
        outputs.append(TeacherOutputs(probe_logits=teacher.probe_logits[rows]))
    return replace(batch, labels=batch.labels[rows], teacher_outputs=tuple(outputs))
