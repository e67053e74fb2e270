"""Folders that lie side by side: what their names say, and the class folders within each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from selection.sources.layouts.folder import Folder
from selection.sources.layouts.split_names import Name, loose_key, read_name, read_names
from selection.sources.split import class_name

_MOST_LISTED = 4
_MOST_COMPARED = 50  # folders that all others are compared with
_DEEPEST_WRAPPER = 8


class Level:
    """The folders directly in ``folder``.

    Attributes
    ----------
    pools : list of Folder
        Those of images without labels, by their names.
    children : list of Folder
        The others that hold images, themselves or below.
    empty : list of Folder
        The rest.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.pools: list[Folder] = []
        self.children: list[Folder] = []
        self.empty: list[Folder] = []
        for child in folder.folders:
            if read_name(child.name).kind == "unlabelled":
                self.pools.append(child)
            elif child.has_images:
                self.children.append(child)
            else:
                self.empty.append(child)
        names = read_names([child.name for child in self.children])
        self._names = dict(zip(self.children, names, strict=True))
        self._inner: dict[Folder, Folder] = {}
        self._keys: dict[Folder, frozenset[str]] = {}

    def name_of(self, child: Folder) -> Name:
        """What the name of ``child`` says beside the others."""
        return self._names[child]

    def kind_of(self, child: Folder) -> str | None:
        """The kind of split that the name of ``child`` says."""
        return self._names[child].kind

    def inner(self, child: Folder) -> Folder:
        """``child``, or the folder in it that holds its class folders or images."""
        if child not in self._inner:
            self._inner[child] = _unwrapped(child, self._class_keys)
        return self._inner[child]

    def keys(self, child: Folder) -> frozenset[str]:
        """The keys of the class folders in ``child``; empty where there are none."""
        if child not in self._keys:
            self._keys[child] = keys_of(class_folders(self.inner(child)))
        return self._keys[child]

    @cached_property
    def with_classes(self) -> list[Folder]:
        """The children that hold class folders."""
        return [child for child in self.children if self.keys(child)]

    @cached_property
    def same(self) -> list[Folder]:
        """The largest group of children that hold mostly the same class folders; two or more."""
        largest: list[Folder] = []
        for base in self.with_classes[:_MOST_COMPARED]:
            group = [c for c in self.with_classes if alike(self.keys(c), self.keys(base))]
            largest = max(largest, group, key=len)
        return largest if len(largest) >= 2 else []

    @cached_property
    def _class_keys(self) -> frozenset[str]:
        """The keys of class folders of which a child holds two or more."""
        keys: frozenset[str] = frozenset()
        for child in self.children:
            folders = class_folders(child)
            keys |= keys_of(folders) if len(folders) >= 2 else frozenset()
        return keys


def class_folders(folder: Folder) -> list[Folder]:
    """The folders in ``folder`` that may be classes; none where all are images, masks, ..."""
    children = Level(folder).children
    collections = [read_name(c.name) for c in children]
    if all(name.kind == "collection" and not name.unknown for name in collections):
        return []
    return children


def keys_of(folders: Iterable[Folder]) -> frozenset[str]:
    """The keys by which the class folders of two splits are compared."""
    return frozenset(loose_key(class_name(folder.name)) for folder in folders)


def listed(folders: Sequence[Folder], most: int = _MOST_LISTED) -> str:
    """``a/, b/ and 3 more`` for messages."""
    return listed_texts([folder.shown for folder in folders], most)


def listed_texts(texts: Sequence[str], most: int = _MOST_LISTED) -> str:
    """``a, b and c``; of many the first ``most`` and how many there are more."""
    if len(texts) > most:
        return f"{', '.join(texts[:most])} and {len(texts) - most:,} more"
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def alike(one: frozenset[str], two: frozenset[str]) -> bool:
    """Whether two folders hold mostly the same class folders: two shared, and half of the fewer."""
    shared = len(one & two)
    return shared >= 2 and 2 * shared >= min(len(one), len(two))


def _unwrapped(folder: Folder, class_keys: frozenset[str]) -> Folder:
    """``folder``, or the folder below that it only wraps: test/test/*.jpg, train/pets/dog.

    A single class folder, whose key is among ``class_keys``, is no wrapper.
    """
    for _ in range(_DEEPEST_WRAPPER):
        children = Level(folder).children
        if folder.pictures or len(children) != 1 or loose_key(children[0].name) in class_keys:
            break
        child = children[0]
        wraps = sum(inner.has_images for inner in child.folders) >= 2
        same = loose_key(child.name) == loose_key(folder.name)
        if not (wraps or same or read_name(child.name).is_plain):
            break
        folder = child
    return folder
