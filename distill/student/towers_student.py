"""The student of ratings in training.

Shapes: B pairs of a batch, D the width of a vector, L listed items, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from distill.data.batch import StudentState
from distill.student.recommender import write_recommender
from distill.student.student import Student
from distill.student.towers import Towers, width_of

if TYPE_CHECKING:
    from selection.task import Task


@dataclass(frozen=True, kw_only=True)
class TowersSpec:
    """Which student: ``towers-D`` of so many users and items.

    ``values`` (C,) are what the classes stand for, ``listed`` the items that training ranks; None:
    all of them.
    """

    architecture: str
    users: int
    items: int
    values: tuple[float, ...]
    listed: tuple[int, ...] | None = None
    size: int = 2
    pretrained: bool = False

    def create(self, classes: tuple[str, ...], *, seed: int) -> TowersStudent:
        """See `distill.student.student.StudentSpec`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            width = width_of(self.architecture)
            assert width is not None, self.architecture
            network = Towers(self.users, self.items, width, self.values)
            return TowersStudent(network, self, classes)


class TowersStudent(Student):
    """Takes pairs (B, 2) int64. Features are the product of the two vectors, the hidden state both
    of them.
    """

    network: Towers
    listed: Tensor | None

    def __init__(self, network: Towers, spec: TowersSpec, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.spec, self.classes = network, spec, classes
        listed = None if spec.listed is None else torch.tensor(spec.listed)
        self.register_buffer("listed", listed, persistent=False)
        self.keep_shapes(torch.zeros(2, 2, dtype=torch.int64))

    def forward(self, view: Tensor) -> StudentState:
        """See `Student.forward`; lists are scored in training alone."""
        users, items = view.unbind(1)
        user: Tensor = self.network.user_vectors[users]
        item: Tensor = self.network.item_vectors[items]
        hidden = torch.cat([user, item], dim=1)[..., None, None]  # (B, 2 D, 1, 1)
        return StudentState(
            logits=self.network.rating_logits(users, items, user * item),
            features=user * item,
            hidden=hidden,
            low=hidden,
            lists=self.network.relevance(users, self.listed) if self.training else None,
        )

    def export(self, folder: Path, *, task: Task | None = None) -> None:
        """See `Student.export` and `distill.student.recommender`."""
        write_recommender(self.network, self.spec.architecture, self.classes, folder, task)

    def plain_view(self, inputs: Tensor) -> Tensor:
        """(B, 2) int32 -> int64."""
        return inputs.long()
