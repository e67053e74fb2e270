"""Teachers that are asked about parts of samples, as about the items of pairs.

Shapes: N training samples, M parts, K teachers, D features of a sample, U users, L listed items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from distill.data.batch import TeacherOutputs
    from distill.data.lists import Lists
    from distill.data.samples import Samples
    from zoo.card import ModelCard
    from zoo.split_teacher import Splitter


class PartJoin(Protocol):
    """What a kind knows of parts: how answers about them become answers about samples.

    An ``opinion`` is what one teacher says of all samples there may be; only its join reads it.
    """

    @property
    def parts(self) -> Samples:
        """The M parts, as teachers are shown them."""
        ...

    def places(self, samples: Samples) -> Tensor:
        """(N,) int64, the part of each sample."""
        ...

    def opinion(self, features: Tensor) -> Any:
        """Of a teacher with ``features`` (M, D_t) of the parts."""
        ...

    def own(self, card: ModelCard) -> Any:
        """The opinion of a recommender; ``TeacherError`` where it cannot be read."""
        ...

    def features(self, opinion: Any, samples: Samples) -> Tensor:
        """(N, D) float32 features of samples; a training sample does not tell its own label."""
        ...

    def own_outputs(self, card: ModelCard, samples: Samples) -> TeacherOutputs:
        """The features and hidden states (1, N, ...) of such a model."""
        ...

    def splitter(self, card: ModelCard) -> Splitter:
        """Such a model, cut in two."""
        ...

    def lists(self, opinions: Sequence[Any]) -> Lists:
        """What the K teachers say together of users' lists; K may be 0."""
        ...
