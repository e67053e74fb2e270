"""Images that cannot be read are named with their reason; too many are refused; deep images."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selection.kinds.image import IMAGE
from selection.probe import Probe
from selection.sources.grey import GreyScale
from selection.sources.unreadable import check_readable, unreadable_warnings
from selection.task import Task
from zoo.errors import UserError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def noise(seed: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 24)).astype(dtype)


def folder(root: Path, classes: str = "ab", images: int = 6) -> Path:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(images):
            Image.fromarray(noise(100 * number + i)).save(root / name / f"{i}.png")
    return root


def said(task: Task, words: str) -> str:
    (sentence,) = [text for text in task.warnings if words in text]
    return sentence


def test_reasons_and_names_are_said_and_all_stand_in_a_file(tmp_path: Path) -> None:
    folder(tmp_path)
    for i in range(3):
        (tmp_path / "a" / f"lfs{i}.jpg").write_bytes(LFS)
    (tmp_path / "b" / "page.jpg").write_bytes(b"<html>404</html>")
    (tmp_path / "b" / "\x1b[31mempty.png").write_bytes(b"")
    task = Task.open(tmp_path)
    sentence = said(task, "cannot be read and are left out")
    assert sentence.startswith(
        "5 of 17 images cannot be read and are left out: 3 a Git LFS pointer"
    )
    assert "run git lfs pull (a/lfs0.jpg)" in sentence and "1 a web page" in sentence
    assert "\x1b" not in sentence
    listed = said(task, "cannot be read are listed in").split("listed in ")[1]
    lines = Path(listed).read_text().splitlines()
    assert len(lines) == 5 and "\x1b" not in "".join(lines)
    assert lines[0] == "a/lfs0.jpg\ta Git LFS pointer, not the image: run git lfs pull"
    assert len(task.unreadable) == 5


def test_a_class_that_is_lost_is_said(tmp_path: Path) -> None:
    folder(tmp_path, "abc")
    for path in (tmp_path / "c").iterdir():
        path.write_bytes(LFS)
    assert "no image at all of 'c' can be read: the student will never say it" in said(
        Task.open(tmp_path), "no image at all"
    )


def test_classes_that_are_lost_are_those_without_any_image(tmp_path: Path) -> None:
    folder(tmp_path, "abcde", images=8)
    for name, left in (("c", 0), ("d", 0), ("e", 1)):
        for path in sorted((tmp_path / name).iterdir())[left:]:
            path.write_bytes(LFS)
    train = Task.open(tmp_path, duplicates=False).train
    lost = {train.name(i): "why" for i in range(len(train)) if train.name(i)[0] in "cd"}
    warnings: list[str] = []
    of_e = [train.name(i) for i in range(len(train)) if train.name(i)[0] == "e"]
    check_readable(train, lost | dict.fromkeys(of_e[1:], "why"), warnings)
    assert warnings == ["no image at all of 'c', 'd' can be read: the student will never say them"]
    of_b = [train.name(i) for i in range(len(train)) if train.name(i)[0] == "b"]
    spoilt = lost | dict.fromkeys([*of_e, *of_b[1:]], "why")  # two are left of a, one of b
    with pytest.raises(UserError, match="fewer than two classes have two images"):
        check_readable(train, spoilt, [])


def test_six_reasons_are_named_and_more_than_three_images_stand_in_a_file() -> None:
    reasons = {f"a/{i}.png": f"reason {i}" for i in range(7)}
    three = dict(list(reasons.items())[:3])
    (sentence,) = unreadable_warnings(three, 9, IMAGE)
    assert sentence.startswith("3 of 9 images") and "further" not in sentence
    first, second = unreadable_warnings(reasons, 9, IMAGE)
    assert first.endswith("1 reason 5 (a/5.png); 1 further reason")
    assert len(Path(second.split("listed in ")[1]).read_text().splitlines()) == 7


def test_nothing_readable_is_refused_with_the_commonest_reason(tmp_path: Path) -> None:
    for path in folder(tmp_path).rglob("*.png"):
        path.write_bytes(LFS)
    (tmp_path / "a" / "0.png").write_bytes(b"%PDF-1.7")
    with pytest.raises(UserError, match=r"12 cannot, 11 a Git LFS pointer.*run git lfs pull"):
        Task.open(tmp_path)
    task = Task.open(tmp_path, duplicates=False)  # then the probe meets them
    with pytest.raises(UserError, match=r"a Git LFS pointer"):
        Probe.draw(task, size=8)


def test_the_probe_names_what_it_met(tmp_path: Path) -> None:
    (folder(tmp_path) / "a" / "0.png").write_bytes(LFS)
    (tmp_path / "a" / "1.png").write_bytes(LFS)
    task = Task.open(tmp_path, duplicates=False)
    assert set(Probe.draw(task, size=12).unreadable.values()) <= {
        "a Git LFS pointer, not the image: run git lfs pull"
    }


def test_twelve_bits_are_the_pixels_of_eight(tmp_path: Path) -> None:
    """As cameras of microscopes write them: 0 to 4095 in a 16-bit PNG."""
    for bits, dtype in ((8, np.uint8), (12, np.uint16)):
        for number, name in enumerate("ab"):
            (tmp_path / str(bits) / name).mkdir(parents=True)
            for i in range(6):
                values = noise(10 * number + i, dtype) << (bits - 8)
                Image.fromarray(values).save(tmp_path / str(bits) / name / f"{i}.png")
    eight, twelve = Task.open(tmp_path / "8"), Task.open(tmp_path / "12")
    assert (eight.train.decoding, twelve.train.decoding) == (
        None,
        GreyScale(0.0, 4096.0, whole=True),
    )
    for split in ("train", "validation", "test"):
        deep, plain = getattr(twelve, split), getattr(eight, split)
        assert all(np.array_equal(deep.sample(i), plain.sample(i)) for i in range(len(plain)))


def test_the_scale_is_part_of_every_key(tmp_path: Path) -> None:
    """Features and pixels stored under another scale are never taken for these."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for i in range(8):
        values = noise(i, np.uint16) << 4
        Image.fromarray(values).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    before = Task.open(tmp_path)
    raw = before.train.raw(0)
    Image.fromarray(noise(99, np.uint16) << 8).save(tmp_path / "a" / "0.png")  # now 16 bits
    after = Task.open(tmp_path)
    assert before.train.decoding is not None and after.train.decoding is None
    assert before.train.fingerprint(raw) != after.train.fingerprint(raw)
    assert after.train.fingerprint(raw) == hashlib.sha256(raw).digest()  # as in 0.1.0


def test_a_stored_scale_without_extent_is_none() -> None:
    assert GreyScale.from_config([0.0, 4096.0, 1.0]) == GreyScale(0.0, 4096.0, whole=True)
    for wrong in ([5.0, 5.0, 0.0], [0.0, float("inf"), 0.0], [0.0, 1.0], "0 1 0", [0, "1", 0]):
        assert GreyScale.from_config(wrong) is None
