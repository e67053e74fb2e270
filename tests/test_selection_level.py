"""Which folder of a split holds its class folders, and which folders hold the same classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from selection.sources.layouts.folder import Folder
from selection.sources.layouts.level import Level, alike
from tests.label_tables import png


def level(root: Path, *files: str) -> Level:
    for i, name in enumerate(files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(i, i))
    return Level(Folder(root))


def inner(level: Level, name: str) -> str:
    child = next(child for child in level.children if child.name == name)
    return str(level.inner(child).path.relative_to(level.folder.path))


@pytest.mark.parametrize(
    ("one", "two", "is_alike"),
    [
        ("abcd", "abcd", True),
        ("abcd", "abxyz", True),  # two of four
        ("abcde", "abwxyz", False),
        ("ab", "axyz", False),  # one in common may be chance
        ("abcd", "ab", True),
    ],
)
def test_folders_that_hold_mostly_the_same_arealike(one: str, two: str, is_alike: bool) -> None:
    assert alike(frozenset(one), frozenset(two)) is is_alike
    assert alike(frozenset(two), frozenset(one)) is is_alike


def test_a_folder_that_only_wraps_another_is_opened(tmp_path: Path) -> None:
    classes = [f"train/{name}/{i}.png" for name in ("cats", "dogs") for i in (1, 2)]
    found = level(
        tmp_path,
        *classes,
        "test/test/1.png",
        *("val/pets/cats/1.png", "val/pets/dogs/1.png"),
        *("other/pets/cats/1.png", "other/pets/dogs/1.png", "other/2.png"),  # a picture: no wrapper
        "more/pets/birds/1.png",  # one folder in it: pets may be a class
        *("some/cats/old/1.png", "some/cats/new/1.png"),  # cats is a class beside
    )
    opened = {child.name: inner(found, child.name) for child in found.children}
    assert opened == {
        "train": "train",
        "test": "test/test",
        "val": "val/pets",
        "other": "other",
        "more": "more",
        "some": "some",
    }
