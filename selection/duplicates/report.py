"""What the duplicates of a task mean for its splits, in sentences; the whole list in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from selection.sources.split import Rows, Split, by_class
from zoo.terminal.command import printable

EXAMPLES = 3
LABELLED = ("train", "validation", "test")


class DuplicateReport:
    """The splits of a task by name, cut, with their ``groups``; ``given`` were not cut here."""

    def __init__(self, splits: Mapping[str, Split], given: set[str]) -> None:
        self._splits = splits
        self._kind = splits["train"].kind
        self._given = given
        self._name_of = {
            (name, i): split.name(i)
            for name, split in splits.items()
            for i in np.flatnonzero(_groups(split) >= 0).tolist()
        }
        self._members: dict[int, list[tuple[str, int]]] = {}
        for name, i in self._name_of:
            group = int(_groups(splits[name])[i])
            self._members.setdefault(group, []).append((name, i))

    def sentences(self) -> list[str]:
        """For the user: copies, leaks from train into a given split, contradicting labels."""
        found = [self._copies(), self._conflicts(), self._broken_cut()]
        for name in ("test", "validation"):
            if name in self._given:
                found.append(self._leak(name))
        return [sentence for sentence in found if sentence]

    def pool_sentence(self, copies: Rows) -> str:
        """What is said of the unlabelled ``copies`` (n,) of labelled samples."""
        pool = self._splits["unlabelled"]
        groups = dict.fromkeys(_groups(pool)[copies].tolist())
        pairs = [self._pool_pair(group) for group in list(groups)[:EXAMPLES]]
        return (
            f"{len(copies)} of {len(pool)} unlabelled {self._kind.nouns} are copies of labelled"
            f" ones ({', '.join(pairs)}) and are left out"
        )

    def _pool_pair(self, group: int) -> str:
        members = self._members[group]
        labelled = next(member for member in members if member[0] in LABELLED)
        unlabelled = next(member for member in members if member[0] not in LABELLED)
        return f"{self._name_of[unlabelled]} = {self._name_of[labelled]}"

    def lines(self) -> Iterator[str]:
        """One line a group of copies: split, class and name of each."""
        for members in self._members.values():
            yield "\t".join(
                f"{split}\t{printable(self._class(split, i))}\t{printable(self._name_of[split, i])}"
                for split, i in members
            )

    def _class(self, split: str, i: int) -> str:
        label = int(self._splits[split].labels[i])
        return self._splits[split].classes[label] if label >= 0 else "(no label)"

    def _copies(self) -> str:
        """Copies within what was cut here."""
        cut = [name for name in LABELLED if name in self._splits and name not in self._given]
        cut = cut or ["train"]
        groups = np.concatenate([_groups(self._splits[name]) for name in cut])
        sizes = np.bincount(groups[groups >= 0], minlength=1)
        if not (sizes > 1).any():
            return ""
        pairs = [self._pair(int(group), cut) for group in np.flatnonzero(sizes > 1)[:EXAMPLES]]
        together = "; they stay on one side of every cut" if len(cut) > 1 else ""
        count = int((sizes > 1).sum())
        return (
            f"{sizes[sizes > 1].sum()} of {len(groups)} labelled {self._kind.nouns} show only"
            f" {count} {self._kind.content}{'s' if count > 1 else ''}"
            f" ({', '.join(pairs)}){together}"
        )

    def _conflicts(self) -> str:
        pairs = []
        for group, members in self._members.items():
            classes = {self._class(split, i) for split, i in members if split in LABELLED}
            if len(classes) > 1:
                pairs.append(group)
        if not pairs:
            return ""
        shown = ", ".join(self._pair(group, LABELLED, other_class=True) for group in pairs[:3])
        one = len(pairs) == 1
        return (
            f"{len(pairs)} {self._kind.content}{'' if one else 's'} stand{'s' if one else ''} under"
            f" two classes ({shown}): all labels but one are wrong"
        )

    def _broken_cut(self) -> str:
        """Classes that could be cut through copies only."""
        train = self._splits["train"]
        torn: set[str] = set()
        for name in ("test", "validation"):
            if name not in self._given and name in self._splits:
                split = self._splits[name]
                shared = np.isin(_groups(split), _groups(train)) & (_groups(split) >= 0)
                torn |= {split.classes[label] for label in split.labels[shared]}
        if not torn:
            return ""
        names = ", ".join(repr(name) for name in sorted(torn)[:5])
        return (
            f"copies of one {self._kind.content} stand on both sides of the cut, since there is"
            f" too little else in {names}: accuracy there says nothing"
        )

    def _leak(self, name: str) -> str:
        """Samples of a given split that stand in another labelled split too."""
        split = self._splits[name]
        others = [other for other in LABELLED if other != name and other in self._splits]
        leaked = np.unique(np.concatenate([leaks(split, self._splits[other]) for other in others]))
        if not len(leaked) or (name == "validation" and self._only_in_test(leaked)):
            return ""
        groups = dict.fromkeys(_groups(split)[leaked].tolist())
        pairs = [self._pair(group, (name, *others)) for group in list(groups)[:EXAMPLES]]
        where = "train" if "validation" not in self._given else "train or validation"
        where = where if name == "test" else "train or test"
        return (
            f"{len(leaked)} of {len(split)} {name} {self._kind.nouns} also stand in {where}"
            f" ({', '.join(pairs)}): accuracy on {name} is too high. The split is kept as you gave"
            " it"
        )

    def _only_in_test(self, leaked: Rows) -> bool:
        """Whether these validation samples stand in a given test split alone, which says so."""
        groups = _groups(self._splits["validation"])[leaked]
        in_train = np.isin(groups, _groups(self._splits["train"]))
        return "test" in self._given and not bool(in_train.any())

    def _pair(
        self,
        group: int,
        splits: Sequence[str],
        *,
        other_class: bool = False,
    ) -> str:
        """Two samples of a group: of two classes if asked for, else of two splits if it has any."""
        members = [
            member for split in splits for member in self._members[group] if member[0] == split
        ]
        first = members[0]
        rest = members[1:]
        if other_class:
            rest = [m for m in rest if self._class(*m) != self._class(*first)] or rest
        else:
            rest = [m for m in rest if m[0] != first[0]] or rest
        return " = ".join(self._name_of[member] for member in (first, *rest[:1]))


def leaks(split: Split, other: Split) -> Rows:
    """The positions in ``split`` of samples that have a copy in ``other``."""
    groups = _groups(split)
    return np.flatnonzero((groups >= 0) & np.isin(groups, _groups(other)))


def one_of_each(split: Split) -> list[Rows]:
    """The positions of each class in ``split`` (n,), of copies only the first.

    All of a class that holds fewer than two different samples.
    """
    groups = _groups(split)
    _, first = np.unique(groups, return_index=True)
    kept = groups < 0
    kept[first] = True
    rows = by_class(split.labels, len(split.classes))
    single = [of_class[kept[of_class]] for of_class in rows]
    return [some if len(some) >= 2 else all_ for some, all_ in zip(single, rows, strict=True)]


def _groups(split: Split) -> Rows:
    return split.groups if split.groups is not None else np.full(len(split), -1, dtype=np.int64)
