"""The run folder, the exported student, the model card."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
import torch

from distill.run import RunFolder
from distill.student.image_student import ImageSpec, ImageStudent, export, input_size, reopen
from distill.student.model_card import licence_warning, model_card
from tests.distill_setting import CLASSES, pixels, student
from tests.places import ROOT, flipped
from zoo.errors import UserError


def test_a_run_is_resumed_with_the_same_configuration_only(tmp_path: Path) -> None:
    RunFolder.create(
        tmp_path / "run", {"seed": 1, "versions": {"torch": "2"}, "sizes": (1, 2)}, resume=False
    )
    RunFolder.create(
        tmp_path / "run", {"seed": 1, "versions": {"torch": "3"}, "sizes": (1, 2)}, resume=True
    )
    with pytest.raises(UserError, match="seed = 1, this command says 2"):
        RunFolder.create(tmp_path / "run", {"seed": 2, "sizes": (1, 2)}, resume=True)
    with pytest.raises(UserError, match="--resume"):
        RunFolder.create(tmp_path / "run", {"seed": 1}, resume=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        RunFolder.create(tmp_path / "file", {}, resume=False)


@pytest.mark.parametrize("name", ["options", "versions", "without_control"])
def test_what_the_student_does_not_follow_from_may_differ(tmp_path: Path, name: str) -> None:
    RunFolder.create(tmp_path, {"seed": 1, name: {"a": 1}}, resume=False)
    RunFolder.create(tmp_path, {"seed": 1, name: {"a": 2}}, resume=True)


def test_names_that_an_earlier_version_did_not_write_count_as_off(tmp_path: Path) -> None:
    path = tmp_path / "run"
    RunFolder.create(path, {"seed": 0, "task": {"digest": "a"}}, resume=False)
    now = {"seed": 0, "task": {"digest": "a", "revision": None}, "mix": 0.0}
    RunFolder.create(path, now, resume=True)
    with pytest.raises(UserError, match="revision"):
        RunFolder.create(path, now | {"task": {"digest": "a", "revision": "b"}}, resume=True)
    with pytest.raises(UserError, match="this command says 1"):
        RunFolder.create(path, now | {"seed": 1}, resume=True)


@pytest.mark.parametrize("text", [None, "", "[]", "{"])
def test_a_folder_that_is_no_run_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    reason = "not a run folder" if text is None else "config.json is damaged"
    with pytest.raises(UserError, match=reason):
        RunFolder(tmp_path).config()


def test_metrics_survive_a_torn_line_and_are_cut_to_the_checkpoint(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, {}, resume=False)
    for epoch in range(4):
        run.add_metrics({"epoch": epoch, "loss": 0.1 * epoch})
    with open(tmp_path / "metrics.jsonl", "a") as out:
        out.write('{"epoch": 4, "lo')
    assert [line["epoch"] for line in run.metrics()] == [0, 1, 2, 3]
    run.keep_metrics(2)
    run.add_metrics({"epoch": 2, "loss": 0.7})
    assert [line["loss"] for line in run.metrics()] == [0.0, 0.1, 0.7]
    with pytest.raises(ValueError, match="JSON"):
        run.add_metrics({"epoch": 3, "loss": float("nan")})


def test_checkpoints_fall_back_when_damaged_and_never_run_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder.create(tmp_path, {}, resume=False)
    assert run.load_checkpoint() is None
    for step in (1, 2, 3):
        run.save_checkpoint({"step": step, "weights": torch.full((3,), float(step))})
    loaded = run.load_checkpoint()
    assert loaded is not None
    assert loaded["step"] == 3
    torch.save(
        {"step": 9, "bad": Path("x")}, tmp_path / "checkpoint" / "last.pt"
    )  # an object: a pickle that would run code
    loaded = run.load_checkpoint()
    assert loaded is not None
    assert loaded["step"] == 2
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.json", "results.json"])
@pytest.mark.journey
def test_every_flipped_bit_of_a_run_is_noticed_or_harmless(tmp_path: Path, name: str) -> None:
    config: dict[str, Any] = {"seed": 3, "plan": {"rate": 0.002}, "flip": True, "task": "wärme"}
    run = RunFolder.create(tmp_path, config, resume=False)
    run.finish({"test": {"accuracy": 0.5, "predicted": [0, 1, 2]}}, "a card")
    read = run.config if name == "config.json" else run.results
    content, value = (tmp_path / name).read_bytes(), read()
    noticed = 0
    for bit in range(8 * len(content)):
        (tmp_path / name).write_bytes(flipped(content, bit))
        try:
            assert read() == value, bit
        except UserError as error:
            assert f"{name} is damaged" in str(error)  # noqa: PT017 - some flips are harmless
            noticed += 1
    assert noticed > 7 * len(content)


def test_a_configuration_without_checksum_is_taken_as_it_is(tmp_path: Path) -> None:
    """Of an earlier version, or edited on purpose."""
    run = RunFolder.create(tmp_path, {"seed": 3}, resume=False)
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 3
    (tmp_path / "config.json").write_text('{"seed": 4}')
    assert run.config() == {"seed": 4}


def test_a_flipped_bit_of_a_checkpoint_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder.create(tmp_path, {}, resume=False)
    for step in (1, 2):
        run.save_checkpoint({"step": step, "weights": torch.full((3,), float(step))})
    last = tmp_path / "checkpoint" / "last.pt"
    content = last.read_bytes()
    for bit in range(0, 8 * len(content), 97):
        last.write_bytes(flipped(content, bit))
        loaded = run.load_checkpoint()
        assert loaded is not None
        assert loaded["step"] == 1, bit
    assert "last.pt is damaged" in capsys.readouterr().err


def test_a_crash_between_two_renames_loses_no_checkpoint(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, {}, resume=False)
    for step in (1, 2):
        run.save_checkpoint({"step": step})
    folder = tmp_path / "checkpoint"
    (folder / "last.pt").rename(folder / "next.pt")
    (folder / ".next.pt.7-ab.part").write_bytes(b"half")  # of a writer that was killed
    loaded = run.load_checkpoint()
    assert loaded is not None and loaded["step"] == 2
    assert sorted(path.name for path in folder.iterdir()) == ["next.pt", "previous.pt"]


def test_what_is_damaged_is_removed_where_it_can_be_made_again(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, {"seed": 3}, resume=False)
    run.save_checkpoint({"step": 1})
    run.add_metrics({"epoch": 0})
    run.finish({"test": {}}, "a card")
    for name in ("results.json", "config.json"):
        (tmp_path / name).write_text("{")
    run.remove_damaged()  # the configuration is the user's: said, and left to them
    assert not run.finished and run.exists and run.load_checkpoint() is not None
    run.remove_damaged(config=True)
    assert not run.exists and run.load_checkpoint() is None and run.metrics() == []


def test_only_a_run_without_checkpoint_is_discarded(tmp_path: Path) -> None:
    begun, empty = (
        RunFolder.create(tmp_path / name, {"seed": 3}, resume=False) for name in ("begun", "empty")
    )
    begun.save_checkpoint({"step": 1})
    begun.discard()
    empty.discard()
    assert begun.config() == {"seed": 3}
    assert not empty.path.exists()


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, {}, resume=False)
    torch.save({"step": 7}, tmp_path / "checkpoint" / "last.pt")
    loaded = run.load_checkpoint()
    assert loaded is not None
    assert loaded["step"] == 7


@pytest.mark.journey
def test_two_processes_never_train_in_one_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from distill.run import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(wait=False):\n"
        "    print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with (
            pytest.raises(UserError, match=r"another training is writing to .*run: wait"),
            run.locked(wait=False),
        ):
            pytest.fail("locked twice")
        Timer(0.3, other.stdin.close).start()
        with run.locked(wait=True):  # begins when the other one has ended
            assert other.stdin.closed
    assert "waiting for it" in capsys.readouterr().err
    with run.locked(wait=False):
        pass


def exported(folder: Path) -> ImageStudent:
    pupil = student()
    pupil.logits(torch.from_numpy(pixels(6).inputs).repeat_interleave(2, 2).repeat_interleave(2, 3))
    export(pupil, folder)
    return pupil


def test_the_export_is_the_student_with_labels_and_preprocessing(tmp_path: Path) -> None:
    import timm.data

    pupil = exported(tmp_path)
    opened = reopen(tmp_path)
    network, config = opened.network, opened.config
    images = torch.randint(
        0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    data = timm.data.resolve_model_data_config(network)
    mean, std = (torch.tensor(data[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        assert torch.allclose(network((images / 255 - mean) / std), pupil.logits(images), atol=1e-5)
    assert config["label_names"] == list(CLASSES)
    assert tuple(data["input_size"]) == (3, 32, 32)
    assert (data["interpolation"], data["crop_pct"]) == ("bilinear", 1.0)


@pytest.mark.journey
def test_the_export_opens_in_timm_without_this_package(tmp_path: Path) -> None:
    exported(tmp_path / "student")
    code = (
        "import sys, timm; m = timm.create_model('local-dir:student', pretrained=True); "
        "print(m.pretrained_cfg['label_names']); "
        "assert not [n for n in sys.modules if n.split('.')[0] in ('zoo', 'selection', 'distill')]"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(list(CLASSES))


@pytest.mark.parametrize("harm", ["absent", "labels", "weights"])
def test_a_folder_that_is_no_student_is_named(tmp_path: Path, harm: str) -> None:
    exported(tmp_path)
    if harm == "absent":
        (tmp_path / "config.json").unlink()
    elif harm == "labels":
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | {"label_names": ["one"]}))
    else:
        (tmp_path / "model.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(UserError, match="student"):
        reopen(tmp_path)


@pytest.mark.journey
@pytest.mark.parametrize(
    ("architecture", "args"),
    [
        ("test_resnet", {}),
        ("test_vit", {}),
        ("test_convnext", {}),
        ("test_efficientnet", {}),
        ("test_mambaout", {}),
        ("resnet10t", {"output_stride": 16}),
        ("mobilenetv3_small_050", {}),
    ],
)
def test_states_of_every_family_fit_the_network(architecture: str, args: dict[str, Any]) -> None:
    pupil = ImageStudent.create(
        ImageSpec(architecture=architecture, size=32, model_args=args), CLASSES, seed=0
    ).eval()
    view = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        state, whole = pupil(view), pupil.network((view - pupil.mean) / pupil.std)
    assert torch.allclose(state.logits, whole, atol=1e-4)
    assert state.features.shape == (2, pupil.feature_dim)
    assert tuple(state.hidden.shape[1:]) == pupil.hidden_shape
    assert tuple(state.low.shape[1:]) == pupil.low_shape
    assert all(side > 0 for side in (*pupil.hidden_shape, *pupil.low_shape))


def test_the_same_seed_is_the_same_student() -> None:
    one, two, other = student(0), student(0), student(1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(
        torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True)
    )


def test_unknown_students_and_arguments_are_named() -> None:
    with pytest.raises(UserError, match="did you mean 'test_resnet'"):
        ImageStudent.create(ImageSpec(architecture="test_resnett", size=32), CLASSES, seed=0)
    with pytest.raises(UserError, match="does not accept"):
        ImageStudent.create(
            ImageSpec(architecture="test_resnet", size=32, model_args={"nonsense": 1}),
            CLASSES,
            seed=0,
        )


def test_small_images_are_enlarged() -> None:
    assert [input_size(side) for side in (8, 28, 32, 64, 500)] == [32, 64, 64, 64, 64]


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("apache-2.0", None),
        ("MIT", None),
        (None, "unknown"),
        ("other", "unknown"),
        ("cc-by-nc-4.0", "commercial"),
        ("cc-by-nd-4.0", "derived works"),
        ("cc-by-sa-4.0", "same licence"),
        ("gpl-3.0", "same licence"),
        ("openrail", "may restrict"),
    ],
)
def test_licences_that_may_restrict_a_student_are_warned_of(
    licence: str | None, words: str | None
) -> None:
    text = licence_warning("a/b", licence)
    assert (
        (text is None) if words is None else (text is not None and words in text and "a/b" in text)
    )


def test_the_model_card_names_teachers_and_disarms_names() -> None:
    hostile = "<script>x</script>|[a](http://evil)\x1b[31m\n# not a heading"
    config = {
        "method": "probe_kd",
        "seed": 3,
        "classes": ["cat", hostile],
        "options": {"task": "mydata"},
        "versions": {"torch": "2"},
        "plan": {"student": {"architecture": "resnet18", "size": 64}},
        "task": {"digest": "d" * 64, "labelled": 5, "unlabelled": 7},
        "teachers": [{"id": hostile, "sha": "f" * 40, "license": "cc-by-nc-4.0"}],
    }
    results = {
        "test": {"labels": [0, 1] * 5, "predicted": [0] * 10},
        "verdict": "The teachers help.",
    }
    text = model_card(config, results)
    assert "| test | 10 | 50.0 (23.7 to 76.3) | 50.0 (" in text
    assert "ffffffffffff" in text
    assert "**Warning:**" in text
    assert "commercial use" in text
    assert "The teachers help." in text
    assert "<script" not in text
    assert "](http" not in text
    assert "\x1b" not in text
    assert "\n# not" not in text


@pytest.mark.journey
@pytest.mark.parametrize(
    ("architecture", "sized"),
    [
        ("test_vit", True),
        ("swin_tiny_patch4_window7_224", True),
        ("mixer_s32_224", True),
        ("fastvit_t8", False),
        ("efficientvit_b0", False),
        ("test_resnet", False),
    ],
)
def test_a_network_is_told_its_input_size_where_it_must_know_it(
    architecture: str, sized: bool
) -> None:
    spec = ImageSpec(architecture=architecture, size=64)
    assert spec.arguments == ({"img_size": 64} if sized else {})
    student = ImageStudent.create(spec, ("a", "b"), seed=0)
    assert student.logits(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, 2)


def test_what_the_old_run_had_and_the_new_lacks_is_named_shortly(tmp_path: Path) -> None:
    old = {"seed": 0, "teachers": ["x" * 300]}
    RunFolder.create(tmp_path, old, resume=False)
    with pytest.raises(UserError) as caught:
        RunFolder.create(tmp_path, {"seed": 0}, resume=True)
    shown = '["' + "x" * 117 + "…"
    assert f"made with teachers = {shown}, this command says null: resume" in str(caught.value)
    RunFolder.create(tmp_path, old | {"teachers": ("x" * 300,)}, resume=True)  # as JSON the same
