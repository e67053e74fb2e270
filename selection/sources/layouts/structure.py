"""Which folders of a task are splits and which are classes, read from their structure.

Names alone do not tell: a class may be called train, a split may be called anything. Folders that
hold the same folders are splits or parts of one dataset, whatever their names. What is clear is
used, with a sentence where a name does not say it plainly; what could be meant in two ways is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from selection.sources.foreign import container
from selection.sources.layouts.folder import SPLITS, Files, Folder
from selection.sources.layouts.layout import (
    Layout,
    add_pairs,
    classes_in_names,
    copies_of_siblings,
    count_text,
    names_text,
    roles_of,
)
from selection.sources.layouts.level import Level, keys_of, listed
from selection.sources.layouts.split_names import (
    loose_key,
    may_be_class,
    numbered_family,
    read_name,
)
from selection.sources.split import Part, class_name

_PLACES = ("validation", "test", "eval", "holdout")  # kinds of splits that nothing is learnt from
_DEEPEST = 12  # folders around the classes that are opened
_LABELS_FILE = "a metadata.csv with file_name,label in the same folder"


class FolderContent(NamedTuple):
    """A folder of class folders: parts by split name, unlabelled files, number of broken links."""

    parts: dict[str, Part]
    unlabelled: list[Files]
    broken_links: int


def read(folder: Path, notes: list[str], *, leave_out: Collection[str] = ()) -> FolderContent:
    """Read a folder of class folders, with or without splits above or below them.

    Folders named in ``leave_out``, directly in ``folder``, are passed over: their labels stand in a
    file. Sentences for the user are added to ``notes``. Raises ``UserError`` where it is not clear
    which folders are classes.
    """
    layout = Layout(Folder(folder, leave_out=leave_out), notes)
    _read_level(layout, layout.root)
    parts, broken = layout.parts()
    names = parts["train"].names if "train" in parts else ()
    if len(names) < 2:
        has = f"one class only ({names[0]!r})" if names else "no training images with classes"
        layout.refuse(f"has {has}; at least two sub-folders with images are needed")
    unlabelled, more_broken = layout.pools()
    layout.note_links_left_out()
    return FolderContent(parts, unlabelled, broken + more_broken)


def _read_level(layout: Layout, folder: Folder, depth: int = 0) -> None:
    """Read what lies side by side in ``folder``; the first reading that fits is taken."""
    level = Level(folder)
    layout.unlabelled += level.pools
    if len(level.children) < 2:
        _read_only_child(layout, level, depth)
        return
    readings: Sequence[Callable[[Layout, Level], bool]] = (
        add_pairs,
        _read_splits_in_classes,
        _read_train_and_others,
        _read_copies,
        _read_parts,
    )
    if not any(reading(layout, level) for reading in readings):
        _read_classes(layout, level)
    layout.note_strays(folder)


def _read_only_child(layout: Layout, level: Level, depth: int) -> None:
    """Go on in the only folder with images, where it holds folders itself."""
    if not level.children:
        _refuse_without_folders(layout, level)
    child = level.children[0]
    if not Level(child).children or depth == _DEEPEST:
        if level.name_of(child).is_plain:
            _refuse_flat(layout, level)
        layout.refuse(
            f"has one class only ({class_name(child.name)!r}); at least two sub-folders with images"
            " are needed"
        )
    if SPLITS.get(child.name.lower()) != "train":
        layout.notes.append(f"{child.shown} is the only folder with images: the task is read there")
    _note_empty_splits(layout, level)
    layout.note_strays(level.folder)
    _read_level(layout, child, depth + 1)


def _read_splits_in_classes(layout: Layout, level: Level) -> bool:
    """Class folders with splits in them: cats/train, cats/test, dogs/train, dogs/test."""
    inner = {child: Level(child) for child in level.children}
    majors = [child for child in level.children if _holds_splits(inner[child])]
    kinds = {inner[major].kind_of(split) for major in majors for split in inner[major].children}
    if len(majors) < 2 or 2 * len(majors) <= len(level.children) or "train" not in kinds:
        return False
    if any(level.kind_of(major) in ("train", *_PLACES) for major in majors):
        return False  # train/train and test/test: a folder twice
    splits = names_text(inner[majors[0]].children)
    deep = any(inner[major].with_classes for major in majors)
    if deep or all(level.name_of(major).is_split for major in majors):
        layout.refuse(
            f"{listed(majors)} hold splits of their own ({splits}); give one of them, such as"
            f" --task {layout.path_of(majors[0])}"
        )
    layout.notes.append(f"the splits are read from the folders in each class folder ({splits})")
    roles = roles_of(kinds)
    for child in level.children:
        if child not in majors:
            layout.add_class("train", child.name, child)
            layout.notes.append(f"{child.shown} holds no splits: its images are used for training")
            continue
        layout.unlabelled += inner[child].pools
        layout.note_strays(child)
        for split in inner[child].children:
            role = roles.get(inner[child].kind_of(split))
            if role is None:
                layout.note_unused(split, has_classes=False)
            else:
                layout.add_class(role, child.name, split)
    return True


def _holds_splits(level: Level) -> bool:
    return bool(level.children) and all(level.name_of(child).is_split for child in level.children)


def _read_train_and_others(layout: Layout, level: Level) -> bool:
    """A training split with class folders, and what lies beside it."""
    trains = [
        child
        for child in level.with_classes
        if level.kind_of(child) == "train"
        and (level.name_of(child).is_split or child in level.same)
    ]
    if not trains:
        return False
    others = [child for child in level.children if child not in trains]
    known = frozenset().union(*(level.keys(train) for train in trains))
    named_or_same = [c for c in others if level.name_of(c).is_split or level.keys(c) & known]
    foreign = [
        child
        for child in others
        if not level.name_of(child).is_plain and loose_key(class_name(child.name)) not in known
    ]
    if foreign and not named_or_same and may_be_class(trains[0].name):
        if len(foreign) > 1:
            return False
        layout.refuse(
            f"cannot tell whether {trains[0].shown} and {foreign[0].shown} are splits or classes,"
            f" since {trains[0].shown} holds folders ({names_text(trains[0].folders)}); if it is"
            f" the training split give --task {layout.path_of(trains[0])}, if it is a class move"
            " its images up into it"
        )
    used = layout.choose(trains, "train")
    for child in used:
        layout.note_use(child, "train")
    _use(layout, level, used, others)
    return True


def _read_copies(layout: Layout, level: Level) -> bool:
    """Class folders, and beside them a split or a copy that holds the same: cats, dogs, test/cats,
    test/dogs.
    """
    copies = copies_of_siblings(level)
    classes = [child for child in level.children if child not in copies]
    if not copies or len(classes) < 2:
        return False
    layout.add_classes("train", classes, empty=level.empty)
    roles = roles_of({level.kind_of(copy) for copy in copies})
    for copy in copies:
        role = roles.get(level.kind_of(copy), "train")
        if role == "train":
            layout.notes.append(f"{copy.shown} repeats the class folders beside it and is not used")
        else:
            layout.notes.append(
                f"{copy.shown} is used as the {role} split of the class folders beside it"
            )
            layout.add_split(role, level.inner(copy))
    return True


def _read_parts(layout: Layout, level: Level) -> bool:
    """Folders that hold the same class folders, none of them named train."""
    if not level.same:
        return False
    places = [child for child in level.same if level.kind_of(child) in _PLACES]
    rest = [c for c in level.same if level.kind_of(c) not in (*_PLACES, "other")]
    others = [child for child in level.children if child not in rest]
    parts = [child for child in rest if level.kind_of(child) == "part"]
    if rest and rest == parts:
        if len(rest) > 1:
            cut = "" if places else "; test and validation images are cut from it"
            layout.notes.append(
                f"{listed(rest)} hold the same class folders: joined as one labelled set{cut}"
            )
        _use(layout, level, rest, others)
        return True
    if places and len(rest) == 1:
        layout.note_use(rest[0], "train")
        _use(layout, level, rest, others)
        return True
    return _refuse_same(layout, level, places, rest)


def _refuse_same(
    layout: Layout,
    level: Level,
    places: Sequence[Folder],
    rest: Sequence[Folder],
) -> bool:
    """Refuse folders that hold the same; False where they are classes with numbered folders."""
    shared = level.inner(level.same[0]).folders
    names = [folder.name for folder in shared]
    plain = any(level.name_of(child).is_plain for child in level.same)
    from_zero = sorted(names) == sorted(map(str, range(len(names))))  # patient1/0, patient1/1
    if numbered_family(names) and len(shared) <= len(level.same) and not plain and not from_zero:
        return False  # person1/01, person1/02, person2/01
    same = f"{listed(level.same)} hold the same folders ({names_text(shared)})"
    if places and not rest:
        layout.refuse(
            f"{same} and no training split with class folders lies beside them; expected train/"
            " with one sub-folder of images a class"
        )
    layout.refuse(
        f"{same}: cannot tell whether they are splits or classes; for one of them give --task"
        f" {layout.path_of((rest or level.same)[0])}, as splits call them train/, validation/ and"
        f" test/, as classes add {_LABELS_FILE}"
    )


def _read_classes(layout: Layout, level: Level) -> None:
    """Class folders side by side; names of splits among them are set aside, or refused."""
    named = [child for child in level.children if level.name_of(child).is_split]
    plain = [child for child in level.children if level.name_of(child).is_plain]
    collections = [child for child in plain if level.kind_of(child) == "collection"]
    if len(plain) == len(level.children) and (named or collections == plain):
        _refuse_flat(layout, level)
    trains = [child for child in named if level.kind_of(child) == "train"]
    if trains and trains != named:
        real = [child for child in level.children if child not in named]
        layout.refuse(
            f"cannot tell whether {listed(named)} are splits or classes beside {listed(real)}; as"
            " splits they need one sub-folder of images a class, as classes other names"
        )
    _refuse_dataset_beside(layout, level)
    _refuse_wrapper_beside(layout, level, named)
    aside = [child for child in named if not may_be_class(child.name)]
    for child in aside:
        layout.note_unused(child, has_classes=child in level.with_classes)
    classes = [child for child in level.children if child not in aside]
    for child in classes:
        if child in named:
            beside = [other for other in classes if other is not child]
            layout.notes.append(
                f"{child.shown} is taken as a class beside {listed(beside)}; if it is a split, move"
                " it out of the folder"
            )
    layout.add_classes("train", classes, empty=level.empty)


def _refuse_dataset_beside(layout: Layout, level: Level) -> None:
    """Refuse a folder with splits of its own beside one without: labelled/train, pool/*.jpg."""
    inner = {child: Level(level.inner(child)) for child in level.children}
    datasets = [
        child
        for child in level.children
        if len(inner[child].children) > 1
        and _holds_splits(inner[child])
        and "train" in map(inner[child].kind_of, inner[child].children)
    ]
    others = [child for child in level.children if child not in datasets]
    if not datasets or not others:
        return
    splits = names_text(inner[datasets[0]].children)
    pool = layout.path_of(others[0])
    unlabelled = f", and --unlabelled {pool} if its images have no labels" * (len(others) == 1)
    layout.refuse(
        f"{listed(datasets)} holds splits of its own ({splits}), unlike {listed(others)}: they are"
        f" no classes of one task; for one of them give --task {layout.path_of(datasets[0])}"
        f"{unlabelled}"
    )


def _refuse_wrapper_beside(layout: Layout, level: Level, named: Sequence[Folder]) -> None:
    """Refuse images/ or one unknown folder, with class folders in it, beside flat folders."""
    wrappers = [child for child in level.with_classes if level.kind_of(child) == "collection"]
    if named and not wrappers and set(level.with_classes) == set(level.children) - set(named):
        wrappers = level.with_classes[:1] if len(level.with_classes) == 1 else []
    if wrappers:
        others = [child for child in level.children if child is not wrappers[0]]
        layout.refuse(
            f"cannot tell whether {wrappers[0].shown} and {listed(others)} are classes, since"
            f" {wrappers[0].shown} holds folders ({names_text(wrappers[0].folders)}); to read it"
            f" alone give --task {layout.path_of(wrappers[0])}"
        )


def _use(
    layout: Layout,
    level: Level,
    trains: Sequence[Folder],
    others: Sequence[Folder],
) -> None:
    """Take ``trains`` as the training split, and of ``others`` the splits of the same classes."""
    for child in trains:
        layout.add_split("train", level.inner(child))
    known = keys_of(entry.folder for entry in layout.classes)
    fitting = [child for child in others if _fits(level, child, known)]
    roles = roles_of({level.kind_of(child) for child in fitting})
    for role in ("validation", "test"):
        children = [child for child in fitting if roles.get(level.kind_of(child)) == role]
        for child in layout.choose(children, role):
            layout.add_split(role, level.inner(child))
            layout.note_use(child, role)
    strange = []
    for child in others:
        if level.kind_of(child) is None:
            strange.append(child)
        elif child not in fitting or level.kind_of(child) not in roles:
            layout.note_unused(child, has_classes=bool(level.keys(child) & known))
    _note_empty_splits(layout, level)
    if strange:
        are = "are no splits and are" if len(strange) > 1 else "is no split and is"
        layout.notes.append(f"{listed(strange)} next to {trains[0].shown} {are} not used")


def _note_empty_splits(layout: Layout, level: Level) -> None:
    for child in level.empty:
        if read_name(child.name).is_split:
            layout.notes.append(f"{child.shown} holds no image")


def _fits(level: Level, child: Folder, known: frozenset[str]) -> bool:
    """Whether ``child`` is a validation or test split of the classes ``known``."""
    is_named = level.name_of(child).is_split or child in level.same
    return level.kind_of(child) in _PLACES and is_named and bool(level.keys(child) & known)


def _refuse_flat(layout: Layout, level: Level) -> None:
    """Splits whose training images have no class folders."""
    flat = [child for child in level.children if child not in level.with_classes]
    hold = "holds images" if len(flat) == 1 else "hold images"
    if len(level.children) == 1:
        hold = f"holds {count_text(len(flat[0].images()[0]))}"
    but = f", unlike {listed(level.with_classes)}" if level.with_classes else ""
    layout.refuse(
        f"{listed(flat)} {hold} but no class folders and no labels file{but}; expected one"
        f" sub-folder of images a class, or {_LABELS_FILE}{classes_in_names(flat[0])}"
        f"{_container_text(layout)}"
    )


def _refuse_without_folders(layout: Layout, level: Level) -> None:
    count = len(level.folder.files)
    if count:
        layout.refuse(
            f"holds {count:,} files but no sub-folders; expected one sub-folder of images a class,"
            f" or {_LABELS_FILE}{classes_in_names(level.folder)}{_container_text(layout)}"
        )
    layout.refuse(
        "holds no images; expected one sub-folder of images a class, or train.parquet"
        f"{_container_text(layout)}"
    )


def _container_text(layout: Layout) -> str:
    """What lies in the task's folder that may hold its images or labels: ``train.zip``."""
    names = sorted(path.name for path in layout.root.path.iterdir() if path.is_file())
    name = next((name for name in names if container(name)), None)
    return f". {class_name(name)} is {container(name)}" if name else ""
