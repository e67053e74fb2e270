"""What the exported student sees in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from distill.predict import main, predict
from distill.student.image_student import export
from tests.distill_setting import CLASSES, student, write_task
from zoo.errors import UserError


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    export(student(), folder / "run" / "student")
    write_task(folder / "images", per_class=2)
    (folder / "images" / "broken.png").write_bytes(b"not an image")
    return folder


def test_files_and_folders_get_classes_in_order(world: Path) -> None:
    from PIL import Image

    from distill.data.pixels import square

    files = sorted((world / "images" / "red").iterdir())
    found = list(predict(world / "run" / "student", files, top=3))
    assert [p.sample for p in found] == [str(f) for f in files]
    pupil = student()
    for one, file in zip(found, files, strict=True):
        shares = pupil.logits(
            torch.from_numpy(square(Image.open(file).convert("RGB"), 32))[None]
        ).softmax(1)[0]
        assert [name for name, _ in one.classes] == [
            CLASSES[i] for i in shares.argsort(descending=True)
        ]
        assert [share for _, share in one.classes] == pytest.approx(
            sorted(shares.tolist(), reverse=True), abs=1e-4
        )
    assert len(list(predict(world / "run", [world / "images"], batch_size=2))) == 7


def test_a_broken_image_is_a_warning_and_all_broken_an_error(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(world / "run"), str(world / "images")]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 6
    assert "broken.png could not be read" in shown.err
    assert main([str(world / "run"), str(world / "images" / "broken.png"), "/no/where.png"]) == 2
    assert "no image could be read" in capsys.readouterr().err


def test_json_is_one_object_a_line(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main([str(world / "run"), str(world / "images" / "red"), "--format", "json", "--top", "2"])
        == 0
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [len(line["classes"]) for line in lines] == [2, 2]
    assert main([str(world / "run"), "x.png", "--format", "xml"]) == 2


def test_a_folder_without_a_student_is_named(world: Path) -> None:
    with pytest.raises(UserError, match="not an exported student"):
        list(predict(world / "images", [world / "images"]))


@pytest.mark.parametrize(
    ("words", "dashed"),
    [
        (["run", "-rf.jpg"], "-rf.jpg"),
        (["run", "a.jpg", "-holiday"], "-holiday"),  # lies there
        (["run", "-nothing"], None),
        (["run", "--tops", "2", "a.jpg"], None),
        (["run", "--tops", "2", "--", "-rf.jpg"], None),
    ],
)
def test_a_file_that_begins_with_a_dash_is_told_from_an_option(
    words: list[str],
    dashed: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-holiday").mkdir()
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: No such option: -") and error.count("\n") == 1
    hint = f"a file whose name begins with a dash is typed ./{dashed}, or after --; "
    assert (hint in error) == (dashed is not None)
    assert ("begins with a dash" in error) == (dashed is not None)
