"""Talking Models: student and teachers exchange messages in a shared space; the one-way control.

Shapes: B samples of a batch, c channels of a teacher's lower state, d of a message, g x g positions
of the grid, D_s and D_t features of student and teacher.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from distill.data.batch import Batch, StudentState, TeacherOutputs
from distill.methods.answers import ProbeTerm
from distill.methods.configs import TalkConfig
from distill.methods.losses import standardised_error
from distill.methods.recipe import Context, Recipe, task_term
from distill.methods.states import TeacherState, mlp, on_grid, position_mlp
from distill.teachers.info import TeacherInfo


class Interpreter(nn.Module):
    """One teacher's encoders and decoder.

    Its lower state <-> a message at each position; its features -> a message.
    """

    def __init__(self, info: TeacherInfo, config: TalkConfig) -> None:
        super().__init__()
        self.state = TeacherState(info)
        channels = self.state.splitter.channels
        self.encode_low = position_mlp(channels, config.width, config.width)
        self.decode_low = position_mlp(config.width, channels, config.width)
        self.encode_high = mlp(info.feature_dim, config.width, config.width)


class Talk(Recipe):
    """Cross-entropy + interact L_interact + message L_MC + state L_SC, after Zhao et al. 2023
    (arXiv 2310.03188).

    From the paper: encoders and decoders of every model, messages both ways, the teacher's
    interpretation and answer, and the three losses. Our reading: the student's low state is
    encoded, decoded into the teacher's hidden space and run through its frozen upper layers; the
    features that come out are encoded, and decoded into the student's pooled space, where the
    student's features regress them. In a further round the student adds the reply to its message.
    L_MC: both sides' messages about one sample agree. L_SC: decoding a message gives back
    the state it is about. Messages and the student's states are compared standardised over the
    batch, teachers' states in units of their own spread; each loss is averaged over teachers
    and rounds. ``interactive`` False is one_way.
    """

    def __init__(self, config: TalkConfig, context: Context) -> None:
        super().__init__()
        self.config, self.grid = config, context.grid
        self.probe = ProbeTerm(config.probe, context)
        width = config.width
        self.teachers = nn.ModuleList(Interpreter(info, config) for info in context.teachers)
        self.encode_low = position_mlp(context.low_shape[0], width, width)
        self.encode_high = mlp(context.feature_dim, width, width)
        self.decode_high = mlp(width, context.feature_dim, width)

    @property
    def interpreters(self) -> list[Interpreter]:
        """The modules of ``teachers``, typed."""
        return cast("list[Interpreter]", list(self.teachers))

    def forward(
        self,
        batch: Batch,
        student: StudentState,
        *,
        progress: float,
    ) -> dict[str, Tensor]:
        config = self.config
        low = on_grid(student.low, self.grid)
        sums = torch.zeros(3, device=low.device)
        for interpreter, outputs in zip(self.interpreters, batch.teacher_outputs, strict=True):
            for losses in self._rounds(
                interpreter,
                outputs,
                low,
                student.features.float(),
            ):
                sums = sums + torch.stack(losses)
        interact, message, state = sums / (len(self.teachers) * config.rounds)
        return {
            "cross_entropy": task_term(student.logits, batch),
            "interact": config.interact * interact,
            "message": config.message * message,
            "state": config.state * state,
            **self.probe(student.logits, batch),
        }

    def _rounds(
        self, teacher: Interpreter, outputs: TeacherOutputs, low: Tensor, high: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(L_interact, L_MC, L_SC) of each round with one teacher."""
        teacher_state = teacher.state.standardised(outputs)  # (B, c, g, g)
        teacher_message = teacher.encode_low(teacher_state)  # (B, d, g, g)
        about_features = self.encode_high(high.detach())  # (B, d)
        student_message = self.encode_low(low)  # (B, d, g, g)
        for _ in range(self.config.rounds):
            decoded = teacher.decode_low(student_message)  # (B, c, g, g)
            features = self._teacher_features(teacher, outputs, decoded)  # (B, D_t)
            reply = teacher.encode_high(features)  # (B, d)
            reply_features = self.decode_high(reply)  # (B, D_s)
            interact = _distance(reply_features, high)
            low_messages = _distance(_rows(student_message), _rows(teacher_message))
            high_messages = _distance(about_features, reply)
            teacher_restored = mse_loss(teacher.decode_low(teacher_message), teacher_state)
            student_decoded = mse_loss(decoded, teacher_state)
            student_restored = _distance(self.decode_high(about_features), high.detach())
            state = teacher_restored + student_decoded + student_restored
            yield interact, low_messages + high_messages, state
            added = self.encode_high(reply_features)[:, :, None, None]  # (B, d, 1, 1)
            student_message = self.encode_low(low) + added

    def _teacher_features(
        self, teacher: Interpreter, outputs: TeacherOutputs, decoded: Tensor
    ) -> Tensor:
        """(B, D_t): of what the teacher decoded; in the one-way control of the sample itself."""
        if self.config.interactive:
            features: Tensor = teacher.state.features_from(decoded)
            return features
        assert outputs.features is not None
        return outputs.features.float()


def _distance(student: Tensor, teacher: Tensor) -> Tensor:
    return standardised_error(student, teacher).mean()


def _rows(message: Tensor) -> Tensor:
    """(B, d, g, g) -> (B g g, d)."""
    return message.movedim(1, -1).flatten(0, 2)
