"""The teachers of a run: their stored outputs, their heads, and what a recipe knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from distill.data.batch import TeacherOutputs
from distill.data.samples import Samples
from distill.teachers.cards import columns
from distill.teachers.info import TeacherInfo
from distill.teachers.outputs import HIDDEN, RenderedViews, teacher_outputs
from selection.probing.store import OUTPUTS, StoreKey, TeacherStore, precision_of
from zoo.card import ModelCard
from zoo.errors import TeacherError, Unavailable
from zoo.home import feature_folder
from zoo.terminal.command import printable
from zoo.terminal.progress import note

if TYPE_CHECKING:
    from distill.data.lists import Lists
    from distill.teachers.joined import PartJoin
    from distill.teachers.probe_head import ProbeHead
    from zoo.split_teacher import Splitter
    from zoo.teacher import Teacher

HEAD_ROWS = 20_000  # samples times views that a head is fitted on at most
VIEW_SEED = 0  # of all runs, so that they share stored outputs; --seed changes the student alone


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedTeacher:
    """One teacher as a run uses it.

    outputs     of the N training samples, with its head's logits
    head        its linear head, fitted out of fold on the labelled training samples
    validation  (n, C) float32, the head's logits of the validation split
    opinion     see `joined.PartJoin`; None where the teacher is asked about the samples
    """

    info: TeacherInfo
    outputs: TeacherOutputs
    head: ProbeHead
    validation: Tensor
    opinion: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskSamples:
    """The samples that the teachers of a run are shown.

    training    the training samples
    validation  the validation split, shown as it is
    classes     the task's class names
    views       the views of the training samples; None: the samples as they are
    """

    training: Samples
    validation: Samples
    classes: tuple[str, ...]
    views: RenderedViews | None = None


@dataclass(eq=False)
class PreparedTeachers:
    """The teachers of a run. ``cards`` may be empty: then no teacher helps, and only ``plain`` can
    be trained.

    A teacher whose input is larger than ``teacher_size`` pixels looks at images of that size
    instead. ``balanced`` heads answer as if all classes were equally common. With ``join`` they are
    asked about parts of the samples; their states are then averaged onto ``grid``.
    """

    cards: tuple[ModelCard, ...]
    device: str = "cpu"
    offline: bool = False
    teacher_size: int | None = None
    balanced: bool = False
    join: PartJoin | None = None
    grid: tuple[int, int] = (4, 4)
    _loaded: dict[str, Teacher] = field(default_factory=dict)
    _splitters: dict[str, tuple[Splitter | None, str | None]] = field(default_factory=dict)
    _prepared: dict[tuple[str, bool], PreparedTeacher] = field(default_factory=dict)

    def infos(self, classes: Sequence[str], *, split: bool = False) -> tuple[TeacherInfo, ...]:
        """What is known of every teacher before it has seen a sample: its card, the columns of
        ``classes``, and with ``split`` whether it can be run from the middle.
        """
        infos = []
        for card in self.cards:
            splitter, reason = self._splitter(card) if split else (None, None)
            infos.append(
                TeacherInfo(
                    card=card,
                    feature_dim=card.feature_dim or 0,
                    columns=columns(card.labels, classes),
                    splitter=splitter,
                    split_reason=reason,
                )
            )
        return tuple(infos)

    def prepare(self, samples: TaskSamples, *, split: bool = False) -> tuple[PreparedTeacher, ...]:
        """Every teacher, in order, with ``split`` also its lower states. What is stored is read."""
        for card in self.cards:
            if (card.id, split) not in self._prepared:
                self._prepared[card.id, split] = self._teacher(card, samples, split=split)
                if not split:  # its outputs are stored, its weights need no more memory
                    self._loaded.pop(card.id, None)
        teachers = [self._prepared[card.id, split] for card in self.cards]
        labels = torch.from_numpy(samples.training.labels)
        return _weighted(teachers, labels) if teachers else ()

    def _teacher(
        self,
        card: ModelCard,
        samples: TaskSamples,
        *,
        split: bool,
    ) -> PreparedTeacher:
        from distill.teachers.ground_cost import ground_cost
        from distill.teachers.probe_head import fit

        classes = samples.classes
        labels = torch.from_numpy(samples.training.labels)  # (N,)
        splitter, reason = self._splitter(card) if split else (None, None)
        asked = self._asked(card, samples, split=splitter is not None)
        outputs, features = asked.outputs, asked.features
        labelled = int((labels >= 0).sum())
        views = max(1, HEAD_ROWS // max(1, labelled))  # enough for the head
        head = fit(
            features[:views],
            labels,
            num_classes=len(classes),
            balanced=self.balanced,
            groups=torch.from_numpy(samples.training.groups),
        )
        index = torch.arange(len(labels))
        probe_logits = [head.logits(view, index).half() for view in features]  # (N, C) each
        first_logits, names = None, None
        if outputs.logits is not None:
            first_logits = outputs.logits[0]
            if outputs.places is not None:
                first_logits = first_logits[outputs.places]
            if card.labels and len(card.labels) == first_logits.shape[-1]:
                names = card.labels
        cost = partial(
            ground_cost,
            features[0],
            first_logits,
            labels,
            num_classes=len(classes),
        )
        info = TeacherInfo(
            card=card,
            feature_dim=_width(outputs),
            columns=columns(names, classes),
            ground_cost=cost,
            splitter=splitter,
            split_reason=reason,
        )
        return PreparedTeacher(
            info=info,
            outputs=replace(outputs, probe_logits=torch.stack(probe_logits)),
            head=head,
            validation=self._predicted(card, head, samples.validation, asked.opinion),
            opinion=asked.opinion,
        )

    def _asked(self, card: ModelCard, samples: TaskSamples, *, split: bool) -> _Asked:
        """What a teacher answers about the training samples, with ``split`` its states too."""
        join = self.join
        if join is not None and card.is_recommender:
            opinion, outputs = self._own(card, join), join.own_outputs(card, samples.training)
            return _Asked(outputs, join.features(opinion, samples.training)[None], opinion)
        asked, views = (samples.training, samples.views) if join is None else (join.parts, None)
        outputs = self.outputs(card, asked, views=views)
        features = outputs.features
        assert features is not None
        if split:
            hidden = self.outputs(card, asked, views=views, content=HIDDEN).hidden
            outputs = replace(outputs, hidden=hidden)
        if join is None:
            return _Asked(outputs, features)
        if outputs.hidden is not None:
            outputs = replace(outputs, hidden=_on_grid(outputs.hidden, self.grid))
        opinion = join.opinion(features[0])
        outputs = replace(outputs, places=join.places(samples.training))
        return _Asked(outputs, join.features(opinion, samples.training)[None], opinion)

    def _own(self, card: ModelCard, join: PartJoin) -> Any:
        try:
            return join.own(card)
        except TeacherError as error:
            raise _unusable(card, error) from error

    def predicted(self, teacher: PreparedTeacher, samples: Samples) -> Tensor:
        """(n, C) float32 logits of a teacher's head on other samples than the training ones."""
        return self._predicted(teacher.info.card, teacher.head, samples, teacher.opinion)

    def _predicted(
        self, card: ModelCard, head: ProbeHead, samples: Samples, opinion: Any
    ) -> Tensor:
        if self.join is not None:
            return head.predict(self.join.features(opinion, samples))
        features = self.outputs(card, samples).features
        assert features is not None
        return head.predict(features[0])

    def lists(self, teachers: Sequence[PreparedTeacher]) -> Lists | None:
        """What ``teachers`` say together of users' lists; None where there are none."""
        if self.join is None:
            return None
        return self.join.lists([teacher.opinion for teacher in teachers])

    def _splitter(self, card: ModelCard) -> tuple[Splitter | None, str | None]:
        from zoo.split_teacher import CannotSplit, SplitTeacher

        if self.join is not None and card.is_recommender:
            self._own(card, self.join)
            return self.join.splitter(card), None
        if card.id not in self._splitters:
            try:
                self._splitters[card.id] = SplitTeacher(self.load(card)), None
            except CannotSplit as error:
                self._splitters[card.id] = None, str(error)
            except TeacherError as error:
                raise _unusable(card, error) from error
        return self._splitters[card.id]

    def load(self, card: ModelCard) -> Teacher:
        """The teacher itself, loaded once; ``TeacherError`` where that fails."""
        from zoo.teacher import Teacher

        if card.id not in self._loaded:
            self._loaded[card.id] = Teacher.load(
                card, device=self.device, offline=self.offline, largest=self.teacher_size
            )
        return self._loaded[card.id]

    def outputs(
        self,
        card: ModelCard,
        samples: Samples,
        *,
        views: RenderedViews | None = None,
        content: tuple[str, ...] = OUTPUTS,
    ) -> TeacherOutputs:
        """The outputs of one teacher on ``samples`` as they are, or on ``views`` of them.

        ``Unavailable`` if the store lacks some and the teacher cannot be loaded.
        """
        store = TeacherStore(feature_folder())
        try:
            key = self._key(card, store, content)
            return teacher_outputs(
                store,
                key,
                samples,
                lambda: self.load(card),
                views=views,
            )
        except TeacherError as error:
            raise _unusable(card, error) from error

    def _key(
        self,
        card: ModelCard,
        store: TeacherStore,
        content: tuple[str, ...],
    ) -> StoreKey:
        """The key of the outputs; if the model's folder is gone, the key of its stored outputs."""
        folder = Path(card.location or "")
        if card.source in ("folder", "small") and not (folder / "config.json").is_file():
            for key in store.keys(card.id, card.revision):
                if key.precision == precision_of(self.device):
                    note(
                        f"the folder of {printable(card.id, 80)} is gone; its stored outputs serve"
                    )
                    return replace(key, view=None, content=content)
        return StoreKey.of(
            card,
            device=self.device,
            largest=self.teacher_size,
            content=content,
        )


class _Asked(NamedTuple):
    """What a teacher answered.

    outputs   on the training samples, or on their parts
    features  (V, N, D) of the training samples, which its head is fitted on
    opinion   see `joined.PartJoin`
    """

    outputs: TeacherOutputs
    features: Tensor
    opinion: Any = None


def _width(outputs: TeacherOutputs) -> int:
    assert outputs.features is not None
    return int(outputs.features.shape[-1])


def _on_grid(hidden: Tensor, grid: tuple[int, int]) -> Tensor:
    """States (V, M, c, h, w) averaged onto (V, M, c, *grid)."""
    views = [torch.nn.functional.adaptive_avg_pool2d(view.float(), grid) for view in hidden]
    return torch.stack(views).half()


def _unusable(card: ModelCard, error: TeacherError) -> Unavailable:
    return Unavailable(
        f"the teacher {printable(card.id, 80)} cannot be used: {error}; take it out of the"
        " committee of the ranking, or rank again"
    )


def _weighted(teachers: Sequence[PreparedTeacher], labels: Tensor) -> tuple[PreparedTeacher, ...]:
    """The same teachers, each with its share in the mixture of their heads, out of fold."""
    from distill.teachers.probe_head import mixture

    rows = (labels >= 0).nonzero()[:, 0]
    logits = []  # (n, C) each
    for teacher in teachers:
        assert teacher.outputs.probe_logits is not None
        logits.append(teacher.outputs.probe_logits[0, rows].float())
    shares = mixture(torch.stack(logits), labels[rows]).tolist()
    weighted = []
    for teacher, share in zip(teachers, shares, strict=True):
        weighted.append(replace(teacher, info=replace(teacher.info, weight=share)))
    return tuple(weighted)
