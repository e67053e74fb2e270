"""The layout of a task's folder: which folders are classes of which split, and what is not used."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from selection.sources.layouts.folder import SPLITS, Files, Folder
from selection.sources.layouts.level import (
    Level,
    alike,
    class_folders,
    keys_of,
    listed,
    listed_texts,
)
from selection.sources.layouts.split_names import by_pairs, loose_key, numbered_family, read_name
from selection.sources.split import Part, class_name
from zoo.errors import UserError
from zoo.terminal.command import printable

_NUMBERED = re.compile(r"(.*?[^\W\d_])[ ._()-]*\d+\)?\.\w+")  # cat.0.jpg, cat_001.jpg, cat (1).jpg
_ROLE_WORDS = {"train": "training", "validation": "validation", "test": "test"}


class ClassFolder(NamedTuple):
    """A folder with images of one class of one split; ``name`` as the file system holds it."""

    split: str
    name: str
    folder: Folder


class Layout:
    """What lies where in a task's folder; ``selection.sources.layouts.structure`` fills it.

    Attributes
    ----------
    root : Folder
    classes : list of ClassFolder
    unlabelled : list of Folder
        Folders of images without labels.
    notes : list of str
        Sentences for the user: what was taken for what, and what is not used.
    """

    def __init__(self, root: Folder, notes: list[str]) -> None:
        self.root, self.notes = root, notes
        self.classes: list[ClassFolder] = []
        self.unlabelled: list[Folder] = []

    def refuse(self, text: str) -> NoReturn:
        """Raise ``UserError``, with the task's path before ``text``."""
        links = f"; {self._links_text()}" if self.root.links_left_out else ""
        raise UserError(f"{printable(self.root.path)}: {text}{links}")

    def path_of(self, folder: Folder) -> str:
        """The path of ``folder`` as the user would type it."""
        return printable(folder.path)

    def add_class(
        self,
        split: str,
        name: str,
        folder: Folder,
    ) -> None:
        """Take the images of ``folder`` as class ``name`` of ``split``."""
        self.classes.append(ClassFolder(split, name, folder))

    def add_classes(
        self,
        split: str,
        folders: Sequence[Folder],
        *,
        empty: Iterable[Folder] = (),
    ) -> None:
        """Take each of ``folders`` as a class, named as the folder is."""
        for folder in folders:
            self.add_class(split, folder.name, folder)
        for folder in empty:
            self.notes.append(f"class folder {class_name(folder.name)!r} holds no image")
        nested = [folder for folder in folders if _holds_classes(folder)]
        if nested and split == "train":
            one = "is one class" if len(nested) == 1 else "are one class each"
            inner = [folder.name for folder in class_folders(nested[0])]
            self.notes.append(
                f"{listed(nested)} {one}, with the folders below taken together"
                f" ({listed_texts([class_name(name) for name in inner])})"
            )

    def add_split(self, split: str, folder: Folder) -> None:
        """Take the class folders in ``folder`` as those of ``split``."""
        level = Level(folder)
        copies = copies_of_siblings(level)
        for copy in copies:
            self.notes.append(f"{copy.shown} repeats the class folders beside it and is not used")
        classes = [child for child in level.children if child not in copies]
        self.add_classes(split, classes, empty=level.empty)
        if split == "train":
            self.unlabelled += level.pools
        elif level.pools:
            self.notes.append(f"{listed(level.pools)} holds images without classes, not used")
        self.note_strays(folder)

    def choose(self, folders: Sequence[Folder], split: str) -> list[Folder]:
        """Of several folders for one split the plainest; all where they differ in a number."""
        plainest = sorted(folders, key=lambda f: (f.name.lower() not in SPLITS, len(f.name)))
        if len(folders) > 1 and numbered_family([folder.name for folder in folders]):
            self.notes.append(f"{listed(folders)} are joined as the {_ROLE_WORDS[split]} split")
            return list(folders)
        for folder in plainest[1:]:
            self.notes.append(
                f"{folder.shown} is a second {_ROLE_WORDS[split]} split beside"
                f" {plainest[0].shown} and is not used"
            )
        return plainest[:1]

    def note_use(self, folder: Folder, split: str) -> None:
        """Say that ``folder`` is used as ``split``, unless its name says so plainly."""
        if SPLITS.get(folder.name.lower()) != split:
            self.notes.append(f"{folder.shown} is used as the {_ROLE_WORDS[split]} split")

    def note_unused(self, folder: Folder, *, has_classes: bool) -> None:
        """Say that ``folder`` is not used, and how it could be."""
        if has_classes:
            self.notes.append(
                f"{folder.shown} is not used: it is no training, validation or test split of these"
                " classes"
            )
            return
        count = count_text(len(folder.images()[0]))
        self.notes.append(
            f"{folder.shown} holds {count} without classes and is not used; as images without"
            f" labels: --unlabelled {self.path_of(folder)}"
        )

    def note_strays(self, folder: Folder) -> None:
        """Say that images directly in ``folder``, beside class folders, are not used."""
        if count := len(folder.pictures):
            have = "has no class and is" if count == 1 else "have no class and are"
            name = folder.shown if folder.inside else self.path_of(folder)
            self.notes.append(f"{count_text(count)} directly in {name} {have} not used")

    def note_links_left_out(self) -> None:
        """Say which links to folders of the same task are left out.

        Raises ``UserError`` where a folder holds nothing else: it was meant to be read.
        """
        links = self.root.links_left_out
        if not links:
            return
        for parent in sorted({link.rpartition("/")[0] for link in links}):
            folder = Folder(self.root.path, parent)
            if not folder.has_images:
                inner = [link for link in links if link.rpartition("/")[0] == parent]
                raise UserError(
                    f"{self.path_of(self.root)}: {folder.shown} holds nothing but links to folders"
                    f" of the same task ({listed_texts(self._link_pairs(inner))}), which would be"
                    " read twice; move the folders that they lead to out of the task"
                )
        self.notes.append(self._links_text())

    def _link_pairs(self, links: Iterable[str]) -> list[str]:
        targets = self.root.links_left_out
        return [f"{class_name(link)} -> {class_name(targets[link])}" for link in sorted(links)]

    def _links_text(self) -> str:
        pairs = self._link_pairs(self.root.links_left_out)
        if len(pairs) == 1:
            return f"a link to a folder of the same task is left out ({pairs[0]})"
        return (
            f"{len(pairs):,} links to folders of the same task are left out ({listed_texts(pairs)})"
        )

    def parts(self) -> tuple[dict[str, Part], int]:
        """The images of each split with their classes, and the number of broken links."""
        parts, broken = {}, 0
        names: Collection[str] = ()
        for split in ("train", "validation", "test"):
            entries = [entry for entry in self.classes if entry.split == split]
            if entries:
                entries.sort(key=lambda entry: entry.name)
                parts[split], missed = self._part(entries, names)
                broken += missed
                names = names or parts[split].names
        return parts, broken

    def _part(self, entries: Sequence[ClassFolder], known: Collection[str]) -> tuple[Part, int]:
        """One split; its class names are written as those ``known`` from the training split."""
        paths: list[str] = []
        labels: list[int] = []
        labels_by_name: dict[str, int] = {}
        parents: dict[tuple[str, str], str] = {}
        broken = 0
        renamed = []
        for entry in entries:
            raw = class_name(entry.name) or "unnamed"
            name = _known_name(raw, known)
            if name != raw:
                renamed.append(f"{entry.folder.shown} as class {name!r}")
            parent = entry.folder.inside.rpartition("/")[0]
            if parents.setdefault((parent, name), entry.name) != entry.name:
                self.notes.append(
                    f"two folders read as class {name!r}; their images are taken together"
                )
            images, missed = entry.folder.images()
            broken += missed
            label = labels_by_name.setdefault(name, len(labels_by_name))
            paths += images
            labels += [label] * len(images)
        if renamed:
            self.notes.append(f"read in spite of other spelling: {listed_texts(renamed)}")
        source = Files(self.root.path, paths)
        return Part(source, np.asarray(labels, dtype=np.int64), tuple(labels_by_name)), broken

    def pools(self) -> tuple[list[Files], int]:
        """The images without labels, and the number of broken links."""
        pools, broken = [], 0
        for folder in self.unlabelled:
            paths, missed = folder.images()
            pools.append(Files(self.root.path, paths))
            broken += missed
        return pools, broken


def add_pairs(layout: Layout, level: Level) -> bool:
    """Take folders named by split and class: train_cats, train_dogs, test_cats, test_dogs.

    A split of the same classes may lie beside them: test/cats, test/dogs. Folders in them are taken
    together, unless they are the same in each: then it is not clear which of the two are the
    classes, which is refused.
    """
    splits = [child for child in level.children if read_name(child.name).is_split]
    folders = [child for child in level.children if child not in splits]
    kinds = {level.kind_of(split) for split in splits}
    pairs = by_pairs([child.name for child in folders], beside=kinds)
    words = {loose_key(class_name(word)) for _, word in pairs.values()}
    with_classes = [split for split in splits if level.keys(split)]
    if not pairs or not all(len(words & level.keys(split)) >= 2 for split in with_classes):
        return False
    nested = [child for child in folders if child in level.with_classes]
    if not splits and {split for split, _ in pairs.values()} == {"train"} and nested != folders:
        return False  # train_station, train_track: names of classes
    if not with_classes and nested == folders and _hold_the_same(level, pairs):
        _refuse_pairs(layout, folders, pairs)
    for child in folders:
        layout.add_class(*pairs[child.name], child)
    roles = roles_of(kinds)
    for split in splits:
        role = roles.get(level.kind_of(split)) if split in with_classes else None
        if role:
            layout.add_split(role, level.inner(split))
        else:
            layout.note_unused(split, has_classes=split in with_classes)
    kind, word = pairs[folders[0].name]
    layout.notes.append(
        f"folder names are read as split and class: {folders[0].shown} is class"
        f" {class_name(word)!r} of the {kind} split"
        + "; the folders below are taken together"
        * bool(nested)
    )
    return True


def _hold_the_same(level: Level, pairs: Mapping[str, tuple[str, str]]) -> bool:
    """Whether the folders of two classes hold mostly the same folders, and no image beside them."""
    keys: dict[str, frozenset[str]] = {}
    for child in level.with_classes:
        if level.inner(child).pictures:
            return False
        word = pairs[child.name][1]
        keys[word] = keys.get(word, frozenset()) | level.keys(child)
    return any(alike(one, two) for one, two in itertools.combinations(keys.values(), 2))


def _refuse_pairs(
    layout: Layout,
    folders: Sequence[Folder],
    pairs: Mapping[str, tuple[str, str]],
) -> NoReturn:
    first = folders[0]
    split, word = pairs[first.name]
    classes = listed_texts(sorted({class_name(word) for _, word in pairs.values()}))
    inner = [child for child in first.folders if child.has_images]
    above = class_name(first.inside.removesuffix(first.name))
    layout.refuse(
        f"{listed(folders)} hold the same folders ({names_text(inner)}): cannot tell whether the"
        f" classes are {classes}, or {names_text(inner)}; for the first rename {first.shown} to"
        f" {above}{split}/{class_name(word)}/, for the second move the images of {inner[0].shown}"
        f" to {above}{split}/{class_name(inner[0].name)}/, and all others likewise"
    )


def copies_of_siblings(level: Level) -> list[Folder]:
    """The children whose own folders are named as the children beside them."""
    beside = {child: keys_of([child]) for child in level.children}
    names = frozenset().union(*beside.values())
    copies = []
    for child in level.with_classes:
        keys = level.keys(child)
        shared = len(keys & (names - beside[child]))
        if shared >= 2 and 2 * shared >= len(keys):
            copies.append(child)
    return copies


def roles_of(kinds: Collection[str | None]) -> dict[str | None, str]:
    """Which split each kind of name stands for, given what else there is.

    >>> roles_of({"train", "eval", "test"})["eval"], roles_of({"train", "eval"})["eval"]
    ('validation', 'test')
    """
    roles: dict[str | None, str] = {
        "train": "train",
        "part": "train",
        "validation": "validation",
        "test": "test",
    }
    if "test" not in kinds:
        roles["holdout" if "holdout" in kinds else "eval"] = "test"
    if "validation" not in kinds:
        roles.setdefault("eval", "validation")
    return roles


def classes_in_names(folder: Folder) -> str:
    """What the names of images say of their classes, ``cat.0.jpg`` and ``dog.0.jpg``, and how to
    have them read; empty where they say nothing. They are not read: frames of two videos are named
    so, too.
    """
    names = [path.rpartition("/")[2] for path in folder.pictures]
    classes = [match[1] for name in names if (match := _NUMBERED.fullmatch(name))]
    counts = Counter(classes)
    if len(classes) < len(names) or len(counts) < 2 or min(counts.values()) < 2:
        return ""
    shown = listed_texts([class_name(name) for name in sorted(counts)])
    return (
        f". Their names begin with {shown}: if these are the classes, move the images into a folder"
        f" for each, or write {printable(folder.path / 'metadata.csv')} with lines such as"
        f" {class_name(names[0])},{class_name(classes[0])} below file_name,label"
    )


def count_text(count: int) -> str:
    """``1 image``, ``1,200 images``."""
    return f"{count:,} image{'' if count == 1 else 's'}"


def names_text(folders: Sequence[Folder]) -> str:
    """The names of folders for a message."""
    return listed_texts([class_name(folder.name) for folder in folders])


def _holds_classes(folder: Folder) -> bool:
    """Whether the folders in a class folder look like classes themselves."""
    names = [child.name for child in class_folders(folder)]
    plain = all(read_name(name).is_plain for name in names)
    return len(names) >= 2 and not folder.pictures and not plain and not numbered_family(names)


def _known_name(name: str, known: Collection[str]) -> str:
    """The one name of ``known`` that is written almost as ``name``; else ``name`` itself."""
    if not known or name in known:
        return name
    near = [other for other in known if loose_key(other) == loose_key(name)]
    return near[0] if len(near) == 1 else name
