"""What ``distill.predict`` writes: CSV, files, progress, and the reasons of what was not read."""

from __future__ import annotations

import csv
import io
import os
import shutil
from pathlib import Path

import pytest

from distill.predict import main, predict
from distill.student.image_student import export
from tests.distill_setting import CLASSES, student, write_task
from zoo.errors import UserError

Shown = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    export(student(), folder / "run" / "student")
    write_task(folder / "images", per_class=2)
    return folder


def image_of(world: Path) -> Path:
    return sorted((world / "images" / "red").iterdir())[0]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_python_takes_texts_and_one_image(world: Path) -> None:
    image = image_of(world)
    by_path = list(predict(world / "run" / "student", [image]))
    assert list(predict(str(world / "run"), str(image))) == by_path
    assert list(predict(str(world / "run" / "student"), image)) == by_path
    assert list(predict(world / "run", (str(image),))) == by_path
    assert by_path[0].classes[0][0] in CLASSES


def test_a_wrong_student_is_refused_when_it_is_called(world: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere is not an exported student \(no such folder\)"):
        predict(world / "nowhere", image_of(world))
    with pytest.raises(UserError, match="it has no config"):
        predict(world / "images", image_of(world))


def test_csv_has_a_row_an_image_with_its_reason(world: Path, tmp_path: Path, capsys: Shown) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    image = image_of(world)
    words = [str(world / "run"), str(image), str(broken), str(tmp_path / "gone.png")]
    assert main([*words, "--format", "csv", "--top", "2"]) == 0
    shown = capsys.readouterr()
    rows = table(shown.out)
    assert list(rows[0]) == [
        *("image", "class", "probability", "class_2", "probability_2", "error"),
    ]
    (expected,) = predict(world / "run", image, top=2)
    assert rows[0]["image"] == str(image)
    assert (rows[0]["class"], rows[0]["class_2"]) == tuple(n for n, _ in expected.classes)
    assert float(rows[0]["probability"]) == pytest.approx(expected.classes[0][1], abs=1e-6)
    assert rows[0]["error"] == ""
    assert [(row["class"], row["error"]) for row in rows[1:]] == [
        ("", "an empty file"),
        ("", "no such file"),
    ]
    assert shown.err.splitlines() == [
        f"warning: {broken} could not be read: an empty file",
        f"warning: {tmp_path / 'gone.png'} could not be read: no such file",
    ]


def test_names_that_a_spreadsheet_would_run_are_texts(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    evil = student()
    evil.classes = ("=1+1", "+2", "@sum")
    export(evil, tmp_path / "student")
    monkeypatch.chdir(tmp_path)
    shutil.copy(image_of(world), tmp_path / "=cmd.png")
    assert main([str(tmp_path / "student"), "=cmd.png", "--format", "csv", "--top", "3"]) == 0
    (row,) = table(capsys.readouterr().out)
    assert row["image"] == "'=cmd.png"
    assert {row["class"], row["class_2"], row["class_3"]} == {"'=1+1", "'+2", "'@sum"}


def test_out_is_checked_first_and_written_whole(world: Path, tmp_path: Path, capsys: Shown) -> None:
    words = [str(world / "run"), str(world / "images"), "--format", "csv"]
    assert main([*words, "--out", str(tmp_path)]) == 2
    assert "is a folder; give a file to write" in capsys.readouterr().err
    out = tmp_path / "found.csv"
    assert main([*words, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"6 images: {out}\n"
    assert len(table(out.read_text())) == 6
    before = out.read_bytes()
    gone = [str(world / "run"), str(tmp_path / "gone.png"), "--format", "csv", "--out", str(out)]
    assert main(gone) == 2
    assert out.read_bytes() == before
    assert os.listdir(tmp_path) == ["found.csv"]


def test_a_folder_without_images_and_a_pipe_are_said(
    world: Path, tmp_path: Path, capsys: Shown
) -> None:
    assert main([str(world / "run"), str(tmp_path)]) == 2
    assert f"{tmp_path} has no image file" in capsys.readouterr().err
    os.mkfifo(tmp_path / "pipe")
    assert main([str(world / "run"), str(tmp_path / "pipe"), str(image_of(world))]) == 0
    assert "a device, a pipe or a socket" in capsys.readouterr().err


def test_many_failures_are_named_once_in_the_output(
    world: Path, tmp_path: Path, capsys: Shown
) -> None:
    gone = [str(tmp_path / f"{i}.png") for i in range(30)]
    assert main([str(world / "run"), str(image_of(world)), *gone, "--format", "csv"]) == 0
    shown = capsys.readouterr()
    assert len(table(shown.out)) == 31
    assert len(shown.err.splitlines()) == 21
    assert "10 more images could not be read" in shown.err


def test_images_are_read_in_batches(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import selection.sources.layouts.folder as folder

    read: list[str] = []
    whole = folder.read_image_file

    def reading(path: str | Path) -> bytes:
        read.append(str(path))
        return whole(path)

    monkeypatch.setattr(folder, "read_image_file", reading)
    predictions = predict(world / "run", world / "images", batch_size=2)
    next(predictions)
    assert len(read) == 2
