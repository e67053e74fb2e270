"""DiverseDistill: the student asks a committee of teachers questions, and weighs their answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from distill.batch import Batch, StudentState
from distill.methods.answers import ProbeTerm
from distill.methods.configs import CommitteeConfig
from distill.methods.losses import standardised_error
from distill.methods.recipe import Context, Recipe, task_term
from distill.methods.states import TeacherState, mlp, on_grid, position_mlp
from distill.teachers.info import TeacherInfo


class CommitteeTeacher(nn.Module):
    """One teacher: the question augmenter into its hidden space, its frozen layers, the answer MLP
    back.
    """

    def __init__(
        self, info: TeacherInfo, config: CommitteeConfig, context: Context, *, seed: int
    ) -> None:
        super().__init__()
        assert info.splitter is not None
        splitter = info.splitter.shuffled(seed) if config.random else None
        self.state = TeacherState(info, splitter=splitter)
        channels = self.state.splitter.channels
        self.question = position_mlp(
            context.hidden_shape[0] + config.embedding, channels, config.width
        )
        self.answer = mlp(info.feature_dim, context.feature_dim, config.width)
        self.relevance = nn.Linear(channels, context.num_classes)


class CommitteeRecipe(Recipe):
    """Cross-entropy + distance ||h - stop(a)||^2 + relevance [mean_i CE(head(q_i)) + CE(head(a))].

    After Liu et al. 2024 (arXiv 2402.14035): teacher embeddings E, one question a teacher from the
    student's hidden state, the frozen upper layers of the teacher, one answer MLP a teacher,
    importance weights alpha = softmax(E W x / sqrt d), a task term, and teachers skipped for the
    images for which they weigh little. Our reading: x is the last map on a grid (its mean for
    alpha), questions are made at each position, an answer is the teacher's pooled features mapped
    into the student's pooled features h, both standardised over the batch for the distance, head(a)
    is a linear layer of the module.
    """

    def __init__(self, config: CommitteeConfig, context: Context) -> None:
        super().__init__()
        self.config = config
        self.probe = ProbeTerm(config.probe, context)
        count, width = len(context.teachers), config.embedding
        self.embedding = nn.Parameter(torch.randn(count, width))  # E (K, d)
        self.importance = nn.Linear(context.hidden_shape[0], width, bias=False)  # W
        members = (
            CommitteeTeacher(info, config, context, seed=context.seed + k)
            for k, info in enumerate(context.teachers)
        )
        self.members = nn.ModuleList(members)
        self.head = nn.Linear(context.feature_dim, context.num_classes)
        self.mean_share = [1 / count] * count
        self._asked = self._possible = 0

    def forward(self, batch: Batch, student: StudentState, *, progress: float) -> dict[str, Tensor]:
        config, labels = self.config, batch.labels
        members = cast("list[CommitteeTeacher]", list(self.members))
        for member, answers in zip(members, batch.answers, strict=True):
            if member.state.learning:
                member.state.standardised(answers)
        x = on_grid(student.hidden)  # (B, c, g, g)
        alpha = self._importance(x, progress)  # (B, K), 0 where a teacher is not asked
        answer = torch.zeros_like(student.features, dtype=torch.float32)  # (B, D_s)
        relevance = torch.zeros((), device=x.device)
        for k, member in enumerate(members):
            rows = alpha[:, k].detach().nonzero()[:, 0]
            self._asked += len(rows)
            if len(rows) == 0:
                continue
            question = self._question(member, k, x[rows])
            with torch.set_grad_enabled(config.through):
                understood = member.state.features_from(question)
            answer = answer.index_add(0, rows, alpha[rows, k : k + 1] * member.answer(understood))
            relevance = relevance + self.probe.task(
                member.relevance(question.mean(dim=(2, 3))), batch, rows
            )
        self._possible += alpha.numel()
        self.mean_share = alpha.detach().mean(dim=0).tolist()
        pulled = standardised_error(student.features.float(), answer.detach()).mean()
        relevance = relevance / len(self.members) + self.probe.task(self.head(answer), batch)
        return {
            "cross_entropy": task_term(student.logits, labels),
            "distance": config.distance * pulled,
            "relevance": config.relevance * relevance,
            **self.probe(student.logits, batch),
        }

    def weights(self) -> list[float]:
        return self.mean_share

    def metrics(self) -> Mapping[str, float]:
        """``skipped``: the share of teacher forwards, one an image and teacher, left out since the
        last call.
        """
        skipped = 1 - self._asked / self._possible if self._possible else 0.0
        self._asked = self._possible = 0
        return {"skipped": skipped}

    def _importance(self, x: Tensor, progress: float) -> Tensor:
        scores = (
            self.importance(x.mean(dim=(2, 3)))
            @ self.embedding.T
            / math.sqrt(self.embedding.shape[1])
        )  # (B, K)
        alpha = torch.softmax(scores, dim=1)
        if progress < self.config.warmup:
            return alpha
        least = self.config.threshold / len(
            self.members
        )  # below 1 / K, so that the best is always asked
        alpha = alpha * (alpha >= min(least, 1 / len(self.members) - 1e-6))
        return alpha / alpha.sum(dim=1, keepdim=True)

    def _question(self, member: CommitteeTeacher, k: int, x: Tensor) -> Tensor:
        """q (b, c_t, g, g), in units of the teacher's own states."""
        name = self.embedding[k][None, :, None, None].expand(len(x), -1, *x.shape[2:])
        question: Tensor = member.question(torch.cat([x, name], dim=1))
        return question
