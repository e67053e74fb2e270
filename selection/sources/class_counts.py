"""How many samples each class of a task has in each split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selection.kinds.kind import Kind
from selection.sources.split import Rows
from zoo.terminal.command import printable

# commonest over rarest class from which accuracy misleads and balanced accuracy decides; measured
# in benchmarks/students/imbalance.py
UNBALANCED_RATIO = 10.0
SHOWN = 5  # classes of a sentence


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """Labelled samples of each of C ``classes`` in each split, (C,) tuples in their order.

    Samples that cannot be read count too.
    """

    classes: tuple[str, ...]
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    @classmethod
    def of(cls, classes: tuple[str, ...], **labels: Rows) -> ClassCounts:
        """The counts of the ``labels`` of each split, (n,) int64 in [0, C)."""
        counts = {
            split: tuple(np.bincount(of_split, minlength=len(classes)).tolist())
            for split, of_split in labels.items()
        }
        return cls(classes=classes, **counts)

    def commonest(self, split: str) -> tuple[str, float]:
        """The class with the most samples of ``split`` and its share of them in [0, 1]."""
        counts = getattr(self, split)
        most = max(range(len(counts)), key=counts.__getitem__)
        return self.classes[most], counts[most] / max(sum(counts), 1)

    def by_split(self) -> dict[str, list[int]]:
        """Samples of each class by split, as JSON files hold them."""
        return {name: list(getattr(self, name)) for name in ("train", "validation", "test")}

    def warnings(self, kind: Kind) -> list[str]:
        """Sentences on unbalanced classes, and on those that a split has no sample of."""
        sentences = []
        if self.unbalanced:
            most, least = int(np.argmax(self.train)), int(np.argmin(self.train))
            sentences.append(
                f"unbalanced classes, {self.ratio:.0f} to 1: {self._counted(most, kind)},"
                f" {self._counted(least, kind)}; read balanced accuracy and the accuracy by class,"
                " not accuracy alone"
            )
        absent: dict[str, list[str]] = {}
        for label in range(len(self.classes)):
            splits = [name for name in ("validation", "test") if not getattr(self, name)[label]]
            if splits:
                absent.setdefault(" and no ".join(splits), []).append(self._counted(label, kind))
        for splits_text, names in absent.items():
            sentences.append(
                f"no {splits_text} {kind.noun} of {some(names)}: how well"
                f" {'it is' if len(names) == 1 else 'they are'} recognised cannot be measured there"
            )
        return sentences

    def _counted(self, label: int, kind: Kind) -> str:
        count = self.train[label]
        name = printable(self.classes[label], 40)
        return f"{name!r} ({count} training {kind.noun if count == 1 else kind.nouns})"

    @property
    def ratio(self) -> float:
        """Training samples of the commonest class for one of the rarest, at least 1."""
        return max(self.train) / max(min(self.train), 1)

    @property
    def unbalanced(self) -> bool:
        """Whether balanced accuracy decides instead of accuracy."""
        return self.ratio >= UNBALANCED_RATIO


def listed(names: Sequence[str]) -> str:
    """Quoted class names, the first few of many."""
    return some([repr(printable(name, 40)) for name in names])


def some(texts: Sequence[str]) -> str:
    """The first few of ``texts`` in a line, and how many more there are."""
    more = f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
