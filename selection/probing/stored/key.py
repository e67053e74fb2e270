"""The key of stored outputs: all that they depend on, except for the sample."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from zoo.card import ModelCard

OUTPUTS = ("features", "logits")
# Of shards and keys. Raised also where networks are shown their samples otherwise, or pooled
# otherwise, under an unchanged key: 3 for processors and cuts of transformers' networks.
FORMAT = "3"


@dataclass(frozen=True, kw_only=True)
class StoreKey:
    """All that a teacher's stored outputs depend on, except for the sample.

    model, revision  the teacher's weights
    preprocessing    ``Preprocessing.key``
    precision        of the network: float32, or bf16 on a GPU
    view             None for the sample as it is; else which seeded views of which samples
    content          the names of the arrays that are stored
    """

    model: str
    revision: str
    preprocessing: str
    precision: str = "float32"
    view: str | None = None
    content: tuple[str, ...] = OUTPUTS

    @classmethod
    def of(
        cls,
        card: ModelCard,
        *,
        device: str,
        largest: int | None = None,
        view: str | None = None,
        content: tuple[str, ...] = OUTPUTS,
    ) -> StoreKey:
        """The key of a card's outputs on ``device``; ``TeacherError`` if its config is wrong.

        A GPU runs in bfloat16, so its outputs are kept apart from a CPU's. ``largest`` bounds the
        teacher's input size, see ``Teacher.load``.
        """
        from zoo.loading.inputs.preprocessing import preprocessing_of

        preprocessing = preprocessing_of(card).at_most(largest).key
        return cls(
            model=card.id,
            revision=card.revision,
            preprocessing=preprocessing,
            precision=precision_of(device),
            view=view,
            content=content,
        )

    @property
    def digest(self) -> str:
        """The entry's folder name: no part of a key ever becomes a path."""
        text = json.dumps([FORMAT, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, lossless, for outputs on the sample as it is; float16 for everything else."""
        exact = self.view is None and self.content == OUTPUTS
        return np.dtype(np.float32 if exact else np.float16)


def precision_of(device: str) -> str:
    """The precision that networks run in on ``device``, see ``Teacher.autocast``."""
    return "bf16" if device.startswith("cuda") else "float32"
