"""A catalogue of millions of models that do not exist, with label spaces as people make them.

Names: ImageNet's, those of ``label_sets``, WordNet's nouns, and a word before one of them
("northern red fox"), embedded by the packaged table, so that their geometry is that of words.
Spaces: a topic (a name and the few hundred nearest to it, topics drawn Zipf-like), a few names of
it, the likelier the nearer, sometimes with the fillers that all such lists have; parts of ImageNet
and of the well-known tasks; a few very large ones. Models: Zipf-like, so that the most common space
is shared by tens of thousands and most are one model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.build.label_sets import LABEL_SETS
from selection.recall.names import TABLE, NameEncoder, WordTable

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

FILLERS = ("other", "unknown", "background", "none", "normal", "negative", "positive", "not sure")
_ARCHITECTURES = (
    "vit_base_patch16_224",
    "swin_tiny_patch4_window7_224",
    "convnext_tiny",
    "resnet50",
    "efficientnet_b0",
    "deit_small",
)
_TOPIC_SIZE = 400  # names


@dataclass(frozen=True, eq=False)
class SyntheticZoo:
    """Label names, and label spaces and topics made of them.

    Parameters
    ----------
    names : list of n str
    spaces : list of S arrays of int64
        Places in ``names``.
    topics : (Z, 400) int64
        The names nearest to each topic's middle, nearest first.
    """

    names: list[str]
    spaces: list[npt.NDArray[np.int64]]
    topics: npt.NDArray[np.int64]

    @classmethod
    def draw(
        cls,
        *,
        names: int,
        spaces: int,
        topics: int,
        rng: np.random.Generator,
    ) -> SyntheticZoo:
        """Draw exactly ``names`` distinct names, each in at least one of ``spaces`` spaces.

        The largest space has a tenth of the names.
        """
        known = [_imagenet(names // 4), *(text.split(", ") for text in LABEL_SETS.values())]
        all_names = _names(names, [name for group in known for name in group], rng)
        number = {name: place for place, name in enumerate(all_names)}
        groups = [
            np.array([number[name] for name in dict.fromkeys(group) if name in number])
            for group in known
        ]
        near, nearest = _topics(all_names, topics, rng)
        drawn = [np.unique(group) for group in groups]
        drawn += [rng.choice(names, names // part, replace=False) for part in (10, 20, 50)]
        for _ in range(spaces // 50):  # parts of well-known tasks
            group = groups[rng.integers(len(groups))]
            drawn.append(rng.choice(group, min(_size(rng), len(group)), replace=False))
        fillers = [number[name] for name in FILLERS]
        for topic in rng.choice(topics, spaces - len(drawn), p=_zipf(topics, 0.9)).tolist():
            drawn.append(_space(near, topic, fillers, rng))
        _cover(drawn, nearest, rng, names)
        return cls(all_names, drawn, near)

    def save(self, path: Path) -> None:
        """Write it as arrays, which ``load`` reads."""
        cuts = np.cumsum([len(space) for space in self.spaces])
        np.savez(
            path,
            names=np.array(self.names),
            flat=np.concatenate(self.spaces),
            cuts=cuts,
            topics=self.topics,
        )

    @classmethod
    def load(cls, path: Path) -> SyntheticZoo:
        with np.load(path, allow_pickle=False) as kept:
            return cls(
                kept["names"].tolist(), np.split(kept["flat"], kept["cuts"][:-1]), kept["topics"]
            )

    def task(
        self,
        topic: int,
        before: Sequence[str],
        rng: np.random.Generator,
        *,
        size: int = 20,
    ) -> list[str]:
        """A task of a topic: ``size`` of its names, half of them with a word ``before``."""
        places = rng.choice(self.topics[topic], size, replace=False).tolist()
        classes = [self.names[place] for place in places]
        for i in range(0, size, 2):
            classes[i] = f"{before[int(rng.integers(len(before)))]} {classes[i]}"
        return classes


def write(
    zoo: SyntheticZoo,
    path: Path,
    *,
    rows: int,
    labelled: int,
    rng: np.random.Generator,
) -> Path:
    """Publish a catalogue of ``rows`` models at ``path``; ``labelled`` of them have label names."""
    import pyarrow as pa

    from zoo.catalogue import Catalogue

    count = len(zoo.spaces)
    shared = rng.choice(count, labelled - count, p=_zipf(count, 1.0))
    space_of_model = np.concatenate([np.arange(count), shared])
    labels = pa.array(
        [[zoo.names[place] for place in space] for space in zoo.spaces], pa.list_(pa.string())
    )
    with Catalogue.open(path, write=True) as catalogue:
        db = catalogue.connection
        db.register("spaces", pa.table({"space": pa.array(np.arange(count)), "labels": labels}))
        for begin in range(0, rows, 200_000):
            place = np.arange(begin, min(rows, begin + 200_000))
            db.register("page", _page(place, space_of_model, rng))
            db.execute(
                "INSERT INTO models BY NAME SELECT page.* EXCLUDE (space), labels, len(labels) AS"
                " num_classes FROM page LEFT JOIN spaces USING (space)"
            )
            db.unregister("page")
        return catalogue.publish()


def _page(
    place: npt.NDArray[np.int64], space_of_model: npt.NDArray[np.int64], rng: np.random.Generator
) -> pa.Table:
    """Rows of models: the first have labels and can be loaded, of the others one in ten can be."""
    import pyarrow as pa

    has_labels = place < len(space_of_model)
    space = space_of_model[np.minimum(place, len(space_of_model) - 1)]
    architecture = rng.integers(len(_ARCHITECTURES), size=len(place))
    return pa.table(
        {
            "id": [f"org{p % 9_973:04d}/model-{p:07d}" for p in place.tolist()],
            "source": ["hub"] * len(place),
            "space": pa.array(np.where(has_labels, space, -1)),
            "architecture": [_ARCHITECTURES[a] for a in architecture.tolist()],
            "params_total": pa.array((10 ** rng.uniform(6.5, 8.7, len(place))).astype(np.int64)),
            "input_size": pa.array(rng.choice([224, 224, 224, 384], len(place))),
            "loadable": pa.array(has_labels | (rng.random(len(place)) < 0.1)),
        }
    )


# --- names and spaces


def word_list() -> list[str]:
    """Words of the packaged table that may stand before a name, the most common first."""
    return [word for word in WordTable.load(TABLE).words if word.isalpha() and len(word) > 2]


def _imagenet(most: int) -> list[str]:
    from timm.data import ImageNetInfo

    return list(dict.fromkeys(ImageNetInfo("imagenet-1k").label_descriptions()))[:most]


def _names(count: int, first: Sequence[str], rng: np.random.Generator) -> list[str]:
    nouns, words = list(WordTable.load(TABLE).names), word_list()
    plain = [*FILLERS, *first, *nouns][: max(count // 2, len(FILLERS) + len(first))]
    names = dict.fromkeys(plain)
    bases = list(names)
    base_share, word_share = _zipf(len(bases), 0.5), _zipf(len(words), 0.7)
    while len(names) < count:
        drawn_words = rng.choice(len(words), count, p=word_share)
        drawn_bases = rng.choice(len(bases), count, p=base_share)
        for word, base in zip(drawn_words, drawn_bases, strict=True):
            names[f"{words[word]} {bases[base]}"] = None
    return list(names)[:count]


def _topics(
    names: list[str], count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(count, 400) the names nearest to each of ``count`` names, and each name's topic (n,)."""
    encoder = NameEncoder.table()
    encoded = [
        encoder.encode(names[begin : begin + 20_000]) for begin in range(0, len(names), 20_000)
    ]
    vectors = np.concatenate(encoded)
    middles = vectors[rng.choice(len(names), count, replace=False)]
    near = []
    for begin in range(0, count, 100):
        similarity = middles[begin : begin + 100] @ vectors.T
        best = np.argpartition(-similarity, _TOPIC_SIZE, axis=1)[:, :_TOPIC_SIZE]
        order = np.argsort(-np.take_along_axis(similarity, best, 1), axis=1)
        near.append(np.take_along_axis(best, order, 1))
    topic = [
        (vectors[begin : begin + 10_000] @ middles.T).argmax(axis=1)
        for begin in range(0, len(names), 10_000)
    ]
    return np.concatenate(near), np.concatenate(topic)


def _space(
    near: npt.NDArray[np.int64],
    topic: int,
    fillers: Sequence[int],
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    size = min(_size(rng), near.shape[1] // 2)
    # the smallest of exponential times are a draw without replacement, the nearer the likelier
    times = rng.exponential(size=near.shape[1]) * (np.arange(near.shape[1]) + 10) ** 0.8
    chosen = near[topic, np.argpartition(times, size)[:size]]
    return np.unique(np.append(chosen, rng.choice(fillers))) if rng.random() < 0.15 else chosen


def _size(rng: np.random.Generator) -> int:
    """Classes of a task: half have seven or fewer, one of a hundred more than a hundred."""
    return int(np.clip(np.exp(rng.normal(1.9, 1.1)), 2, 1_000))


def _cover(
    spaces: list[npt.NDArray[np.int64]],
    nearest: npt.NDArray[np.int64],
    rng: np.random.Generator,
    names: int,
) -> None:
    """Put each name that no space has into one of the spaces drawn last, with its neighbours."""
    missing = np.setdiff1d(np.arange(names), np.concatenate(spaces))
    missing = missing[np.argsort(nearest[missing], kind="stable")]
    cuts = np.flatnonzero(rng.random(len(missing)) < 0.15)
    groups = np.split(missing, cuts)
    for place, group in enumerate(groups):
        if len(group):
            spaces[-1 - place] = np.unique(np.concatenate([spaces[-1 - place], group]))


def _zipf(count: int, power: float) -> npt.NDArray[np.float64]:
    weights = (np.arange(count) + 1.0) ** -power
    return np.asarray(weights / weights.sum())
