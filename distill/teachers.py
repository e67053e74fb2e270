"""The committee at work: its cards, its stored answers, and what a recipe may know of each teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from distill.batches import TeacherTable
from distill.data import Pixels, Progress
from distill.outputs import OutputsKey, TeacherOutputs, open_outputs
from distill.recipe import TeacherInfo
from distill.views import STILL, Augmentation
from zoo.card import ModelCard
from zoo.command import clean
from zoo.errors import TeacherError, Unavailable, UserError

if TYPE_CHECKING:
    from selection.ranking import Ranking, Row
    from zoo.teacher import Teacher

STORED = frozenset({"features", "logits", "probe_logits", "transport_logits"})
VIEW_SEED = 0  # one for all runs, so that they share stored answers; --seed moves the student alone


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedTeacher:
    """One teacher as a run uses it.

    table       what is stored of the training images, N of them, as far as the method asks for it
    validation  (n, C) float32, its head's answers on the validation split
    head        answers for further features: (n, D_t) -> (n, C), by the head of all labelled training images
    """

    info: TeacherInfo
    table: TeacherTable
    validation: Tensor
    head: Callable[[Tensor], Tensor]


@dataclass(eq=False)
class Committee:
    """The teachers of a run. ``cards`` may be empty: then no teacher helps, and only ``plain`` can be trained."""

    cards: tuple[ModelCard, ...]
    device: str = "cpu"
    offline: bool = False
    batch_size: int = 64
    note: Callable[[str], None] = lambda text: None
    _loaded: dict[str, Teacher] = field(default_factory=dict)

    def load(self, card: ModelCard) -> Teacher:
        """The teacher itself, loaded once; ``TeacherError`` where that fails."""
        from zoo.teacher import Teacher

        if card.id not in self._loaded:
            self._loaded[card.id] = Teacher.load(card, device=self.device, offline=self.offline)
        return self._loaded[card.id]

    def answers(self, card: ModelCard, pixels: Pixels, *, augmentation: Augmentation = STILL, views: int = 1, folder: Path,
                progress: Progress | None = None) -> TeacherOutputs:
        """The stored answers of one teacher; ``Unavailable`` where they are not complete and it cannot be loaded."""
        key = OutputsKey(dataset=pixels.digest, teacher=card.id, revision=card.revision, preprocessing=preprocessing_key(card),
                         augmentation=augmentation.key, view_seed=VIEW_SEED)
        try:
            return open_outputs(pixels, key, lambda: self.load(card), augmentation=augmentation, views=views, folder=folder,
                                batch_size=self.batch_size, on_progress=progress, on_note=self.note)
        except TeacherError as error:
            raise Unavailable(f"the teacher {clean(card.id, 80)} cannot be used: {error}; take it out of the committee of the "
                              "ranking, or rank again") from error


def preprocessing_key(card: ModelCard) -> str:
    """The preprocessing as text, known without loading the model."""
    from zoo.teacher import preprocessing_of

    return preprocessing_of(card).key


def subset(pixels: Pixels, rows: np.ndarray[tuple[int], np.dtype[np.int64]], name: str) -> Pixels:
    """The images ``rows`` alone, under a digest of their own."""
    return Pixels(images=pixels.images[rows], labels=pixels.labels[rows], usable=np.arange(len(rows)),
                  digest=f"{pixels.digest}:{name}")


def committee_cards(ranking: Ranking, *, top: int | None, catalogue: Path | None,
                    note: Callable[[str], None]) -> tuple[ModelCard, ...]:
    """The cards of the ranking's committee, shortened to ``top``.

    A folder model is read from its folder, others come from the catalogue, or, where it lacks them, from the ranking's
    row. Raises ``UserError`` where a member has no row or failed.
    """
    rows = {row.model: row for row in ranking.rows}
    cards = []
    for model in ranking.committee[:top]:
        row = rows.get(model)
        if row is None or row.error:
            why = "has no row" if row is None else f"failed there ({clean(row.error, 200)})"
            raise UserError(f"the ranking's committee names {clean(model, 80)}, which {why}: rank again")
        card = _card(row, catalogue)
        if row.revision not in (card.revision, "unknown"):
            note(f"{clean(model, 80)} has changed since it was ranked (revision {clean(card.revision[:12])}, ranked "
                 f"{clean(row.revision[:12])})")
        cards.append(card)
    return tuple(cards)


def _card(row: Row, catalogue: Path | None) -> ModelCard:
    sha = None if row.revision == "unknown" else row.revision
    bare = ModelCard(id=row.model, source=row.source, location=row.location, sha=sha, license=row.license)
    if row.source in ("folder", "small"):
        from zoo.sources import folder

        there = row.location is not None and (Path(row.location) / "config.json").is_file()
        return folder.card(Path(row.location), source=row.source, model=row.model) if there else bare  # type: ignore[arg-type]
    try:
        from zoo.catalogue import Catalogue

        with Catalogue.open(catalogue) as opened:
            found = opened.cards(models=[row.model])
    except (UserError, Unavailable, ImportError):
        found = []
    return replace(found[0], sha=sha or found[0].sha) if found else bare


def columns(labels: Sequence[str] | None, classes: Sequence[str]) -> tuple[int, ...] | None:
    """The place of each of ``classes`` in a teacher's ``labels``, by name without regard to case; None where one is missing."""
    def plain(name: str) -> str:
        return " ".join(name.lower().replace("_", " ").replace("-", " ").split())

    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels or ()):
        for name in {plain(label), *(plain(part) for part in label.split(","))}:
            places.setdefault(name, []).append(place)
    found = [places.get(plain(name), []) for name in classes]
    if any(len(one) != 1 for one in found) or len({one[0] for one in found}) < len(found):
        return None
    return tuple(one[0] for one in found)
