"""Images of one picture are found, kept on one side of every cut, and said."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from selection.duplicates import groups as groups_module
from selection.duplicates import search
from selection.duplicates.registration import _warped, correlations
from selection.duplicates.search import find_duplicates, group_numbers, near_pairs
from selection.duplicates.thumbnails import KEPT_FROM, SIDE, Thumbnails, thumbnails
from selection.kinds.image import IMAGE
from selection.probe import Probe
from selection.sources.split import Rows, Split, cut
from selection.task import Task
from zoo.home import thumbnail_folder

pytestmark = pytest.mark.journey


def photo(seed: int, side: int = 96) -> Image.Image:
    """Smooth blobs in colour: no two seeds are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side * 4 // 3, side), Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def folder(root: Path, classes: Sequence[str], images: int, *, first: int = 0) -> Path:
    """Photos ``first`` to ``first + images`` of each class."""
    for number, name in enumerate(classes):
        for i in range(first, first + images):
            save(photo(1000 * number + i), root / name / f"{i:03d}.png")
    return root


def names(split: Split | None) -> list[str]:
    assert split is not None
    return [split.name(i) for i in range(len(split))]


def said(task: Task, words: str) -> str:
    """The one warning that holds ``words``."""
    (sentence,) = [text for text in task.warnings if words in text]
    return sentence


def cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((round(0.05 * width), 0, width, round(0.95 * height)))


COPIES: dict[str, Callable[[Image.Image, Path], None]] = {
    "the same file": lambda image, path: save(image, path.with_suffix(".png")),
    "another container": lambda image, path: save(image, path.with_suffix(".bmp")),
    "saved as JPEG": lambda image, path: save(image, path.with_suffix(".jpg"), quality=50),
    "half the size": lambda image, path: save(image.reduce(2), path.with_suffix(".png")),
    "five per cent cut off": lambda image, path: save(cropped(image), path.with_suffix(".png")),
    "brighter": lambda image, path: save(
        ImageEnhance.Brightness(image).enhance(1.1), path.with_suffix(".png")
    ),
}


@pytest.mark.parametrize("change", COPIES)
def test_a_changed_copy_is_found(tmp_path: Path, change: str) -> None:
    folder(tmp_path / "train", ("a", "b"), 8)
    for i in range(4):
        COPIES[change](photo(1000 + i), tmp_path / "test" / "b" / f"copy{i}")
        save(photo(500 + i), tmp_path / "test" / "a" / f"new{i}.png")
    task = Task.open(tmp_path)
    assert said(task, "also stand in train").startswith("4 of 8 test images")
    assert "test/b/copy0" in said(task, "also stand in train")
    assert len(task.test) == 8  # kept as it was given


@pytest.mark.journey
def test_different_pictures_are_no_copies(tmp_path: Path) -> None:
    task = Task.open(folder(tmp_path, ("a", "b"), 40))
    assert task.warnings == []
    assert task.train.groups is not None and set(task.train.groups.tolist()) == {-1}


def test_a_cast_that_all_share_makes_none_alike(tmp_path: Path) -> None:
    for i in range(20):  # stained tissue: pink all over, little of it differs
        rose = np.asarray(photo(i)).astype(float) * 0.1 + np.array([190, 90, 150])
        save(Image.fromarray(rose.astype(np.uint8)), tmp_path / "ab"[i % 2] / f"{i}.png")
    assert Task.open(tmp_path).warnings == []


def test_twins_stay_on_one_side_and_the_probe_takes_one_of_each(tmp_path: Path) -> None:
    folder(tmp_path, ("a", "b"), 20)
    for path in list(tmp_path.rglob("*.png")):
        shutil.copy(path, path.with_name(f"{path.stem} (1).png"))
    task = Task.open(tmp_path)
    pictures = [
        {name.removesuffix(" (1).png").removesuffix(".png") for name in names(split)}
        for split in (task.train, task.validation, task.test)
    ]
    assert [len(split) for split in pictures] == [26, 6, 8]
    assert len(set.union(*pictures)) == 40
    assert [len(task.train), len(task.validation), len(task.test)] == [52, 12, 16]
    sentence = said(task, "labelled images show only")
    assert sentence.startswith("80 of 80 labelled images show only 40 pictures (a/000 (1).png = a")
    assert "one side of every cut" in sentence
    probe = Probe.draw(task, size=100)
    assert probe.size == 26
    assert len({name.removesuffix(" (1).png").removesuffix(".png") for name in probe.names}) == 26


def test_without_duplicates_the_cut_is_what_it_always_was(tmp_path: Path) -> None:
    path = folder(tmp_path, ("a", "b", "c"), 9)
    searched, not_searched = Task.open(path), Task.open(path, duplicates=False)
    assert searched.digest == not_searched.digest
    assert names(searched.test) == names(not_searched.test)
    of_0_1_0 = ["a/000", "a/008", "b/002", "b/003", "c/003", "c/008"]
    assert names(searched.test) == [f"{name}.png" for name in of_0_1_0]
    assert names(searched.validation) == ["a/007.png", "b/000.png", "c/006.png"]


def test_the_digits_hold_no_duplicates() -> None:
    digest = "69c5b10ced02d0c41e0f5ddd0b936cfbd637770ecbc3e119d0313bca2950bdc7"  # of 0.1.0
    task = Task.open("digits")
    assert task.digest == digest and task.warnings == []


def test_copies_leave_the_unlabelled_pool(tmp_path: Path) -> None:
    folder(tmp_path / "task", ("a", "b"), 10)
    pool = tmp_path / "pool"
    for i in range(3):
        save(photo(i), pool / f"other name {i}.jpg", quality=60)
    save(photo(400), pool / "new.png")
    task = Task.open(tmp_path / "task", unlabelled=pool)
    assert names(task.unlabelled) == ["new.png"]
    sentence = said(task, "unlabelled images are copies")
    assert sentence.startswith("3 of 4 unlabelled images") and "other name 0.jpg = a/000.png" in (
        sentence
    )
    assert (
        len(names(Task.open(tmp_path / "task", unlabelled=pool, duplicates=False).unlabelled)) == 4
    )


def test_a_pool_of_copies_alone_is_no_pool(tmp_path: Path) -> None:
    folder(tmp_path / "task", ("a", "b"), 4)
    for i in range(2):
        save(photo(i), tmp_path / "pool" / f"{i}.bmp")
    assert Task.open(tmp_path / "task", unlabelled=tmp_path / "pool").unlabelled is None


def test_one_picture_under_two_classes_is_said(tmp_path: Path) -> None:
    folder(tmp_path, ("rose", "tulip"), 10)
    save(photo(3), tmp_path / "tulip" / "wrong.jpg", quality=80)
    task = Task.open(tmp_path)
    sentence = said(task, "under two classes")
    assert sentence.startswith("1 picture stands under two classes")
    assert "rose/003.png = tulip/wrong.jpg" in sentence


def test_all_are_listed_in_a_file(tmp_path: Path) -> None:
    folder(tmp_path, ("a", "b"), 6)
    save(photo(2), tmp_path / "a" / "again.bmp")
    listed = said(Task.open(tmp_path), "are listed in").split("listed in ")[1]
    (line,) = Path(listed).read_text().splitlines()
    assert sorted(line.split("\t")[2::3]) == ["a/002.png", "a/again.bmp"]


def test_a_name_of_two_lines_is_one_line_of_the_list(tmp_path: Path) -> None:
    folder(tmp_path, ("a", "b"), 6)
    save(photo(2), tmp_path / "a" / "two\nlines\tand a tab.bmp")
    listed = said(Task.open(tmp_path), "are listed in").split("listed in ")[1]
    (line,) = Path(listed).read_text().splitlines()
    assert sorted(line.split("\t")[2::3]) == ["a/002.png", "a/two lines and a tab.bmp"]


def test_a_class_of_one_picture_is_cut_through_it_and_said(tmp_path: Path) -> None:
    for name, colour in (("grey", 128), ("white", 255)):
        for i in range(10):
            save(Image.new("RGB", (32, 32), (colour,) * 3), tmp_path / name / f"{i}.png")
    task = Task.open(tmp_path)
    assert [len(split) for split in (task.train, task.validation, task.test)] == [12, 4, 4]
    assert "'grey', 'white'" in said(task, "both sides of the cut")
    assert Probe.draw(task, size=12).size == 12


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_a_cut_leaves_two_of_each_class_whatever_the_groups(
    labels: list[int], seed: int, data: st.DataObject
) -> None:
    array = np.array(labels, dtype=np.int64)
    numbers = data.draw(st.lists(st.integers(-1, 9), min_size=len(labels), max_size=len(labels)))
    groups = np.array(numbers, dtype=np.int64)
    stay, go = cut(array, 4, share=0.3, seed=[seed], groups=groups)
    assert sorted([*stay, *go]) == list(range(len(labels)))
    for label in range(4):
        assert (array[stay] == label).sum() >= min(2, (array == label).sum())
    plain = cut(array, 4, share=0.3, seed=[seed])
    singles: Rows = np.full(len(labels), -1, dtype=np.int64)
    same = cut(array, 4, share=0.3, seed=[seed], groups=singles)
    assert np.array_equal(plain[0], same[0]) and np.array_equal(plain[1], same[1])


@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=40),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_a_group_is_torn_only_where_nothing_whole_could_go(
    labels: list[int], seed: int, data: st.DataObject
) -> None:
    """For groups of one class each, where it is plain what could go."""
    array = np.array(labels, dtype=np.int64)
    numbers = np.array([data.draw(st.integers(-1, 3)) for _ in labels], dtype=np.int64)
    groups: Rows = np.where(numbers < 0, -1, 4 * array + numbers)
    stay, go = cut(array, 3, share=0.3, seed=[seed], groups=groups)
    for label in range(3):
        of_class = groups[array == label].tolist()
        sizes = Counter(group for group in of_class if group >= 0)
        pieces = [*sizes.values(), *(1 for group in of_class if group < 0)]
        torn = set(groups[stay].tolist()) & set(groups[go].tolist()) & set(sizes)
        assert not torn or not any(len(of_class) - size >= 2 for size in pieces)
        assert (array[go] == label).any() == (len(of_class) >= 3)


@pytest.mark.parametrize(
    ("module", "name", "value", "why"),
    [
        (search, "find_spec", lambda _name: None, "faiss is missing"),
        (search, "MOST_DECODED", 10, "more than 10 images"),
        (search, "MOST_DECODED", 17, "more than 17 images"),
    ],
)
def test_without_a_search_for_likeness_equal_files_are_found_and_it_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    value: object,
    why: str,
) -> None:
    folder(tmp_path, ("a", "b"), 8)
    shutil.copy(tmp_path / "a" / "001.png", tmp_path / "a" / "equal.png")
    save(photo(2), tmp_path / "a" / "alike.jpg", quality=80)
    monkeypatch.setattr(module, name, value)
    task = Task.open(tmp_path)
    assert why in said(task, "only equal files count as duplicates")
    sentence = said(task, "labelled images show only")
    assert sentence.startswith("2 of 18 labelled images show only 1 picture")
    assert "alike" not in sentence


def test_registration_finds_a_shift_and_no_likeness_of_strangers() -> None:
    whole = np.stack([np.asarray(photo(i, 64).resize((32, 32))) for i in range(20)])
    shifted = np.stack([np.asarray(cropped(photo(i, 64)).resize((32, 32))) for i in range(20)])
    first, second = whole.transpose(0, 3, 1, 2), shifted.transpose(0, 3, 1, 2)
    assert (correlations(first, second) > 0.97).all()
    assert (correlations(first, np.roll(second, 1, axis=0)) < 0.8).all()
    flat = np.full((1, 3, 32, 32), 9, dtype=np.uint8)
    assert correlations(flat, flat).tolist() == [0.0]


@pytest.mark.journey
def test_thumbnails_are_kept_and_a_damaged_file_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    for i in range(KEPT_FROM):
        save(photo(i, 12), tmp_path / "task" / "ab"[i % 2] / f"{i}.png")
    train = Task.open(tmp_path / "task", duplicates=False).train
    train = Split(train.source, np.arange(KEPT_FROM), np.zeros(KEPT_FROM, np.int64), ("a",), IMAGE)
    made = thumbnails(train, decoded=True)
    (file,) = [kept for kept in thumbnail_folder().glob("*.npz") if "groups" not in kept.name]
    monkeypatch.setattr(Split, "decode", None)  # nothing is decoded again
    stored = thumbnails(train, decoded=True)
    assert made.pixels is not None and stored.pixels is not None
    assert np.array_equal(made.pixels, stored.pixels)
    assert np.array_equal(made.contents, stored.contents)
    monkeypatch.undo()
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    again = thumbnails(train, decoded=True)
    groups = find_duplicates({"train": train}).groups["train"]
    monkeypatch.setattr(search, "group_numbers", None)  # nothing is searched again
    assert np.array_equal(find_duplicates({"train": train}).groups["train"], groups)
    assert again.pixels is not None and np.array_equal(made.pixels, again.pixels)


def test_equal_pixels_in_other_bytes_are_equal(tmp_path: Path) -> None:
    folder(tmp_path, ("a", "b"), 5)
    flat = Image.new("RGB", (16, 16), (9, 9, 9))  # nothing but its content tells of it
    save(flat, tmp_path / "a" / "flat.png")
    save(flat, tmp_path / "a" / "flat too.bmp")
    save(Image.new("RGB", (16, 16), (9, 9, 12)), tmp_path / "a" / "other.png")
    sentence = said(Task.open(tmp_path), "labelled images show only")
    assert sentence.startswith("2 of 13 labelled images show only 1 picture (a/flat too.bmp = a/fl")


def noisy(base: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """(3, S, S) uint8: ``base`` and noise of its own."""
    noise = np.random.default_rng(seed).normal(size=base.shape) * amount
    return np.clip(base + noise, 0, 255).astype(np.uint8)


def pairs_of(images: Sequence[np.ndarray], side: int = 96) -> list[tuple[int, int]]:
    sides = np.full(len(images), side, dtype=np.int32)
    return [tuple(pair) for pair in near_pairs(np.stack(images), sides).tolist()]


BASE = np.random.default_rng(0).integers(40, 216, (3, SIDE, SIDE)).astype(float)


def test_in_a_crowd_only_what_is_all_but_identical_is_a_copy() -> None:
    """Frames of one video correlate by 0.98, more than copies elsewhere need."""
    crowd = [noisy(BASE, 7.0, seed) for seed in range(10)]
    assert pairs_of(crowd) == []
    assert pairs_of([*crowd, noisy(crowd[3].astype(float), 0.5, 99)]) == [(3, 10)]
    assert pairs_of(crowd[:4]) == [(a, b) for a in range(4) for b in range(a + 1, 4)]  # no crowd


def test_what_is_identical_is_a_copy_however_near_the_crowd_is() -> None:
    crowd = [noisy(BASE, 3.0, seed) for seed in range(10)]
    assert pairs_of(crowd) == []
    assert pairs_of([*crowd, noisy(crowd[3].astype(float), 1.5, 99)]) == [(3, 10)]


def test_small_images_are_registered_in_half_the_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        assert first.shape == second.shape
        calls.append((len(first), first.shape[-1]))
        return np.full(len(first), len(calls), dtype=np.float32)

    monkeypatch.setattr(search, "correlations", correlation)
    pixels = np.zeros((3, 3, SIDE, SIDE), dtype=np.uint8)
    sides = np.array([SIDE, SIDE + 1, 96], dtype=np.int32)
    found = search._registered(pixels, sides, np.array([[0, 1], [1, 2], [0, 2]]))
    assert calls == [(1, SIDE), (2, SIDE // 2)]
    assert found.tolist() == [2, 1, 2]


def test_images_of_one_colour_are_never_near() -> None:
    speck = np.full((3, SIDE, SIDE), 90, dtype=np.uint8)
    speck[:, 3, 3] += 7  # less than a flat image may vary
    assert pairs_of([speck, speck, speck]) == []
    speck[:, 3, 3] += 1
    assert pairs_of([speck, speck]) == [(0, 1)]


def test_groups_are_numbered_in_order_of_appearance() -> None:
    def groups(contents: Sequence[int], sides: Sequence[int]) -> list[int]:
        content = np.array(contents, dtype=np.uint64)[:, None]
        images = Thumbnails(
            pixels=None, sides=np.array(sides, dtype=np.int32), contents=content, reasons={}
        )
        return group_numbers(images).tolist()

    assert groups([9, 9, 5, 1, 5, 1, 2], [8] * 7) == [0, 0, 1, 2, 1, 2, -1]
    assert groups([9, 9, 9], [8, 0, 8]) == [0, -1, 0]  # the second cannot be read
    assert groups([9, 9], [0, 0]) == groups([9, 9], [0, 8]) == [-1, -1]


def test_detail_that_differs_keeps_two_images_apart() -> None:
    """Equal at half the detail, checked the other way round at the full one."""
    base = np.asarray(photo(1, 64).resize((SIDE, SIDE))).transpose(2, 0, 1) * 0.4 + 70
    board = np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 2 - 1
    first, second = ((base + sign * 40 * board)[None].astype(np.uint8) for sign in (1, -1))
    assert correlations(first, first)[0] == pytest.approx(1, abs=1e-3)
    assert correlations(first, second)[0] < 0.5


def test_what_a_shift_brings_in_from_outside_does_not_count() -> None:
    image = np.zeros((2, SIDE, SIDE), dtype=np.float32)
    shift = np.array([[0, 3 / SIDE, 0, 0], [0, 0, 0, -5 / SIDE]], dtype=np.float32)
    _, inside = _warped(image, shift)
    assert inside[0].sum(axis=1).tolist() == [SIDE - 3] * SIDE  # the right columns are missing
    assert inside[1].sum(axis=1).tolist() == [0] * 5 + [SIDE] * (SIDE - 5)


def test_a_list_of_duplicates_that_cannot_be_written_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path, ("a", "b"), 6)
    save(photo(2), tmp_path / "a" / "again.bmp")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(groups_module, "write_text", full)
    warnings = Task.open(tmp_path).warnings
    assert any("labelled images show only 1 picture" in text for text in warnings)
    assert not any("listed in" in text for text in warnings)


def cuttings(right: int, down: int) -> np.ndarray:
    """(4, 3, S, S) float: a part of each of four photos, moved by so many pixels."""
    photos = np.stack([np.asarray(photo(i, 128).resize((64, 64))) for i in range(4)])
    places = slice(10 + down, 10 + down + SIDE), slice(10 + right, 10 + right + SIDE)
    return photos.transpose(0, 3, 1, 2)[:, :, *places].astype(float)


def test_registration_knows_contrast_and_moves_no_further_than_a_tenth() -> None:
    whole = cuttings(0, 0)
    pale = (0.4 * whole).astype(np.uint8)
    assert (correlations(pale, cuttings(3, 2).astype(np.uint8)) > 0.995).all()
    far = correlations(whole.astype(np.uint8), cuttings(6, 0).astype(np.uint8))
    assert (far < 0.9).all()  # a fifth of the side: another picture


def test_as_many_images_as_are_searched_are_not_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Task.open(folder(tmp_path, ("a", "b"), 6), duplicates=False).train
    monkeypatch.setattr(search, "find_spec", lambda _name: None)
    monkeypatch.setattr(search, "MOST_DECODED", len(train))
    warnings: list[str] = []
    groups_module.with_groups({"train": train}, warnings)
    assert warnings[0].endswith("not nearly equal images: faiss is missing")
