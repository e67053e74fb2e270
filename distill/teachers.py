"""The committee at work: its cards, its stored answers, and what a recipe may know of each teacher."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from distill.batches import TeacherTable
from distill.data import Pixels, Progress
from distill.outputs import HIDDEN, WHAT, OutputsKey, TeacherOutputs, open_outputs
from distill.recipe import TeacherInfo
from distill.views import STILL, Augmentation
from zoo.card import ModelCard
from zoo.command import clean
from zoo.errors import TeacherError, Unavailable, UserError

if TYPE_CHECKING:
    from distill.experiment import Experiment
    from distill.probe_head import ProbeHead
    from selection.ranking import Ranking, Row
    from zoo.split import SplitTeacher
    from zoo.teacher import Teacher

STORED = frozenset({"features", "logits", "probe_logits", "hidden"})
HEAD_ROWS = 20_000  # images times views that a head is fitted on at most
VIEW_SEED = 0  # one for all runs, so that they share stored answers; --seed moves the student alone


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedTeacher:
    """One teacher as a run uses it.

    table       what is stored of the training images, N of them, as far as the method asks for it
    validation  (n, C) float32, its head's answers on the validation split
    head        its linear head, fitted out of fold on the labelled training images
    """

    info: TeacherInfo
    table: TeacherTable
    validation: Tensor
    head: ProbeHead


@dataclass(eq=False)
class Committee:
    """The teachers of a run. ``cards`` may be empty: then no teacher helps, and only ``plain`` can be trained.

    A teacher whose input is larger than ``teacher_size`` pixels looks at images of that size instead.
    """

    cards: tuple[ModelCard, ...]
    device: str = "cpu"
    offline: bool = False
    batch_size: int = 64
    teacher_size: int | None = None
    note: Callable[[str], None] = lambda text: None
    _loaded: dict[str, Teacher] = field(default_factory=dict)
    _prepared: dict[tuple[str, bool, bool], PreparedTeacher] = field(default_factory=dict)

    def prepare(self, experiment: Experiment, needs: frozenset[str]) -> tuple[PreparedTeacher, ...]:
        """Every teacher with what ``needs`` names, in order. Heads are fitted on all stored views where the method uses
        them, otherwise on the labelled images as they are."""
        views, split = bool(needs & STORED), "split" in needs
        found = []
        for card in self.cards:
            if (card.id, views, split) not in self._prepared:
                self._prepared[card.id, views, split] = self._one(card, experiment, views=views, split=split)
                if not split:
                    self._loaded.pop(card.id, None)  # its answers are at hand, its weights need no more memory
            found.append(self._prepared[card.id, views, split])
        return weighted(found, torch.from_numpy(experiment.pixels.labels)) if views else tuple(found)

    def of(self, cards: tuple[ModelCard, ...]) -> Committee:
        """Other teachers on the same device; what is loaded and prepared is shared."""
        return replace(self, cards=cards)

    def _one(self, card: ModelCard, experiment: Experiment, *, views: bool, split: bool) -> PreparedTeacher:
        from distill.ground_cost import ground_cost
        from distill.probe_head import fit

        plan, pixels, store = experiment.plan, experiment.pixels, experiment.store / "answers"
        labelled = pixels.usable[pixels.labels[pixels.usable] >= 0]
        name = clean(card.id, 60)
        asked = partial(self.answers, card, pixels, augmentation=plan.answered, views=plan.views, folder=store)
        if views:
            said = asked(progress=experiment.progress(f"asking {name} (views x images in parts)"))
        else:
            said = self.answers(card, subset(pixels, labelled, "labelled"), folder=store,
                                progress=experiment.progress(f"asking {name}"))
        labels = torch.from_numpy(pixels.labels if views else pixels.labels[labelled])
        assert said.features is not None
        some = max(1, HEAD_ROWS // max(1, len(labelled)))  # views enough for the head
        head = fit(said.features[:some], labels, num_classes=len(experiment.task.classes))
        seen = self.answers(card, experiment.split("validation", experiment.work_size), folder=store)
        assert seen.features is not None
        splitter, reason = self._splitter(card) if split else (None, None)
        table = TeacherTable()
        if views:
            index = torch.arange(len(labels))
            hidden = asked(what=HIDDEN, progress=experiment.progress(f"asking {name} in the middle")).hidden if splitter else None
            table = TeacherTable(features=said.features, logits=said.logits, hidden=hidden,
                                 probe_logits=torch.stack([head.logits(view, index).half() for view in said.features]))
        cost = ground_cost(said.features[0], None if said.logits is None else said.logits[0], labels,
                           num_classes=len(experiment.task.classes))
        width = 0 if said.logits is None else int(said.logits.shape[-1])
        names = card.labels if card.labels and len(card.labels) == width else None
        info = TeacherInfo(card=card, feature_dim=int(said.features.shape[-1]), num_classes=width,
                           columns=columns(names, experiment.task.classes), ground_cost=cost.matrix, mean_cost=cost.mean,
                           plan=cost.plan, sharpness=cost.sharpness,
                           splitter=splitter, split_reason=reason)
        return PreparedTeacher(info=info, table=table, validation=head.predict(seen.features[0]), head=head)

    def _splitter(self, card: ModelCard) -> tuple[SplitTeacher | None, str | None]:
        from zoo.split import CannotSplit, SplitTeacher

        try:
            return SplitTeacher(self.load(card)), None
        except CannotSplit as error:
            return None, str(error)
        except TeacherError as error:
            raise _unusable(card, error) from error

    def load(self, card: ModelCard) -> Teacher:
        """The teacher itself, loaded once; ``TeacherError`` where that fails."""
        from zoo.teacher import Teacher

        if card.id not in self._loaded:
            self._loaded[card.id] = Teacher.load(card, device=self.device, offline=self.offline, largest=self.teacher_size)
        return self._loaded[card.id]

    def answers(self, card: ModelCard, pixels: Pixels, *, augmentation: Augmentation = STILL, views: int = 1, folder: Path,
                what: tuple[str, ...] = WHAT, progress: Progress | None = None) -> TeacherOutputs:
        """The stored answers of one teacher; ``Unavailable`` where they are not complete and it cannot be loaded."""
        key = OutputsKey(dataset=pixels.digest, teacher=card.id, revision=card.revision,
                         preprocessing=self._preprocessing(card, folder), augmentation=augmentation.key,
                         view_seed=VIEW_SEED, what=what)
        try:
            return open_outputs(pixels, key, lambda: self.load(card), augmentation=augmentation, views=views, folder=folder,
                                batch_size=self.batch_size, on_progress=progress, on_note=self.note)
        except TeacherError as error:
            raise _unusable(card, error) from error

    def _preprocessing(self, card: ModelCard, folder: Path) -> str:
        """The preprocessing as text, without loading the model; of a vanished folder, what its stored answers remember."""
        from zoo.teacher import preprocessing_of

        if card.source in ("folder", "small") and not (Path(card.location or "") / "config.json").is_file():
            for file in folder.glob("*/key.json"):
                known = json.loads(file.read_text(encoding="utf-8"))
                if (known["teacher"], known["revision"]) == (card.id, card.revision):
                    return str(known["preprocessing"])
        return preprocessing_of(card).at_most(self.teacher_size).key


def _unusable(card: ModelCard, error: TeacherError) -> Unavailable:
    return Unavailable(f"the teacher {clean(card.id, 80)} cannot be used: {error}; take it out of the committee of the ranking, "
                       "or rank again")


def index_of(labels: Tensor) -> Tensor:
    """The rows of labelled images."""
    return (labels >= 0).nonzero()[:, 0]


def weighted(teachers: Sequence[PreparedTeacher], labels: Tensor) -> tuple[PreparedTeacher, ...]:
    """The same teachers, each with its share in the mixture of their answers to the labelled images (out of fold)."""
    from distill.probe_head import mixture

    rows = index_of(labels)
    answers = []
    for teacher in teachers:
        assert teacher.table.probe_logits is not None
        answers.append(teacher.table.probe_logits[0, rows].float())  # (n, C)
    shares = mixture(torch.stack(answers), labels[rows]).tolist()
    return tuple(replace(t, info=replace(t.info, weight=float(w))) for t, w in zip(teachers, shares, strict=True))




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
