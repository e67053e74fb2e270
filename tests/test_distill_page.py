"""The page of a run: of two classes and of a hundred, of old runs and with hostile names, on a
phone; ``train`` in Python, which writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.comparison import BEST_SINGLE
from distill.kinds.classes import ACCURACY, split_results
from distill.kinds.image import IMAGE
from distill.methods.registry import METHODS
from distill.options import Options, TrainOptions, to_json
from distill.report.advice import advice, largest_confusions
from distill.report.figures import curves, method_lines, most_confused
from distill.report.mistakes import WORST, previews_of, worst_mistakes
from distill.report.run_page import page, write_page
from distill.run import RunFolder
from distill.train import main, train
from distill.training.results import control_results, split_metrics
from selection.kinds.kind import Preview
from selection.report.plots import PALETTE
from selection.task import Task
from tests.browser import CHROMIUM, Browser
from tests.distill_setting import write_ranking, write_task, write_teacher
from zoo.errors import UserError
from zoo.files import write_checked_json

Shown = pytest.CaptureFixture[str]
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.journey]


def results_of(labels: Any, predicted: Any, classes: Any, *, sure: float = 0.9) -> dict[str, Any]:
    """``results.json`` of a student that gives ``predicted`` with probability ``sure``."""
    count = len(classes)
    rest = (1 - sure) / (count - 1)
    shares = torch.full((len(labels), count), rest, dtype=torch.float64)
    shares[torch.arange(len(labels)), torch.as_tensor(predicted)] = sure
    split = split_results(np.asarray(labels), shares.log(), classes)
    return {"validation": dict(split), "test": dict(split), "decided_by": "accuracy"}


def run_of(folder: Path, results: dict[str, Any], classes: Any, **more: Any) -> RunFolder:
    """A finished run folder that holds ``results``."""
    config = {
        "options": to_json(Options(task="t", student="s")),
        "method": "probe_kd",
        "seed": 0,
        "plan": {"student": {"architecture": "resnet18", "size": 64}},
        "classes": list(classes),
        "task": {"name": "t", "digest": "d" * 64, "labelled": 100, "unlabelled": 0},
        "teachers": [{"id": "org/teacher"}],
        "versions": {"torch": "2"},
    }
    folder.mkdir(parents=True)
    write_checked_json(folder / "config.json", config | more)
    write_checked_json(folder / "results.json", results)
    return RunFolder(folder)


def figures_in(text: str) -> dict[str, Any]:
    found = re.search(r'id="figures">(.*?)</script>', text, flags=re.S)
    assert found
    return dict(json.loads(found[1]))


def plain_text(text: str) -> str:
    body = re.sub(r"<(style|script)[^>]*>.*?</\1>", " ", text, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


# 50 cats and 50 dogs: 10 cats are taken for dogs, 2 dogs for cats
LABELS = np.repeat([0, 1], 50)
PREDICTED = np.where(np.isin(np.arange(100), [*range(10), 98, 99]), 1 - LABELS, LABELS)


def test_the_page_of_two_classes_has_the_right_figures(tmp_path: Path) -> None:
    results = results_of(LABELS, PREDICTED, ("cat", "dog"))
    text = page(run_of(tmp_path / "run", results, ("cat", "dog")), {})
    words = plain_text(text)
    assert "The student is right on 88.0 % of the 100 test images" in words
    assert "cat dog 10 of 50 20" in words  # true, predicted, images, per cent
    assert "dog cat 2 of 50 4" in words
    # class, images, recall, precision and F1 = 2 * 40 / (50 + 42)
    row = r"cat 50 80\.0 \([\d.]+ to [\d.]+\) 95\.2 \([\d.]+ to [\d.]+\) 87\.0 "
    assert re.search(row, words)
    assert "Its confidence is 2.0 points from the share that is right" in words
    drawn = figures_in(text)
    (cells,) = drawn["confusion"]["data"]
    assert cells["z"] == [[80.0, 20.0], [4.0, 96.0]]
    assert cells["text"] == [[40, 10], [2, 48]]
    answers = drawn["calibration"]["data"][1]
    assert answers["x"] == [pytest.approx(90)] and answers["y"] == [pytest.approx(88)]


def test_a_method_has_one_colour_on_every_page() -> None:
    blue = method_lines(["plain"])[0]
    assert blue == {"color": PALETTE[0], "width": 2, "dash": "solid"}
    methods = [*METHODS, BEST_SINGLE]
    lines = dict(zip(methods, method_lines(methods), strict=True))
    for method in methods[1:]:
        assert method_lines([method, "plain"]) == [lines[method], blue]
        assert method_lines(["probe_kd:weight=2", method])[1] == (
            lines[method] | ({"dash": "dash"} if method == "probe_kd" else {})
        )
    assert len({(line["color"], line["dash"]) for line in lines.values()}) == len(methods)

    student, control, training = curves(
        [0.5] * 3, [0.4] * 3, [0.6] * 3, figure_shown=ACCURACY, method="transport"
    ).data
    assert student.line.color == training.line.color == lines["transport"]["color"]
    assert control.name == "plain control" and control.line.color == blue["color"]
    assert (student.line.dash, control.line.dash, training.line.dash) == ("solid", "solid", "dot")


def test_the_largest_confusions_come_first() -> None:
    metrics = split_metrics(results_of(LABELS, PREDICTED, ("cat", "dog")), "test", ("cat", "dog"))
    assert metrics
    assert largest_confusions(metrics, 5) == [("cat", "dog", 10, 50), ("dog", "cat", 2, 50)]
    assert largest_confusions(metrics, 1) == [("cat", "dog", 10, 50)]
    confusion = [[9, 0, 3, 0], [0, 9, 0, 0], [0, 1, 9, 0], [0, 0, 0, 9]]
    assert most_confused(confusion, 2) == [0, 2]
    assert most_confused(confusion, 3) == [0, 1, 2]


def test_of_a_hundred_classes_the_most_confused_are_drawn(tmp_path: Path) -> None:
    names = [f"class {i:02d}" for i in range(100)]
    labels = np.repeat(np.arange(100), 5)
    predicted = labels.copy()
    predicted[:4] = 99  # of class 00
    results = results_of(labels, predicted, names)
    text = page(run_of(tmp_path / "run", results, names), {})
    (cells,) = figures_in(text)["confusion"]["data"]
    assert len(cells["y"]) == 24 and {"class 00", "class 99"} <= set(cells["y"])
    assert "The 24 of 100 classes with the largest confusions" in plain_text(text)
    assert "class 00 class 99 4 of 5 80" in plain_text(text)
    assert text.count('<th scope="row" class="model">class') == 100 + 1


@pytest.mark.parametrize(
    ("predicted", "sure", "step"),
    [
        (PREDICTED, 0.9, "most often 'cat' is taken for 'dog' (10 of 50)"),
        (np.zeros(100, int), 0.9, "It never says 'dog': add training images of it"),
        (np.zeros(100, int), 0.9, "Do not use it yet"),
        (PREDICTED, 0.6, "off by 28 points on average"),
        (LABELS, 0.99, "To use it: python -m distill.predict run/student"),
    ],
)
def test_what_to_do_next_follows_from_the_figures(predicted: Any, sure: float, step: str) -> None:
    results = results_of(LABELS, predicted, ("cat", "dog"), sure=sure)
    metrics = split_metrics(results, "test", ("cat", "dog"))
    steps = advice({"method": "kd"}, results, metrics).steps
    assert any(step in text for text in steps), steps


def test_few_test_images_are_said_first_of_all() -> None:
    results = results_of([0, 0, 1], [0, 0, 1], ("a", "b", "c"))
    metrics = split_metrics(results, "test", ("a", "b", "c"))
    found = advice({"method": "plain"}, results, metrics)
    assert found.steps[0] == "Add test images of 'c': nothing is known of these yet."
    assert any("known to about 28 points only" in step for step in found.steps)
    assert found.teachers == "It was trained on labels alone, without a teacher."
    assert "not known" in advice({"method": "kd"}, results, metrics).teachers


def test_names_of_strangers_stay_text(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>\x1b[31m"
    results = results_of(LABELS, PREDICTED, (evil, "dog"))
    results["test"]["mistakes"] = [
        {"image": evil, "row": row, "label": 0, "predicted": 1, "confidence": 0.9} for row in (0, 1)
    ]
    results["unreadable"] = {"images": 1, "examples": [{"image": evil, "reason": evil}]}
    results["verdict"] = evil
    run = run_of(tmp_path / "run", results, (evil, "dog"), teachers=[{"id": evil}])
    previews = {0: Preview(picture=b"\x89PNG"), 1: Preview(text=f"a text {evil}")}
    text = page(run, previews, lack=evil)
    assert 'src="data:image/png;base64,iVBORw=="' in text
    assert "a text &lt;img src=x" in text
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert "&lt;img src=x" in text


def test_an_old_run_has_a_page_without_what_it_did_not_keep(tmp_path: Path) -> None:
    new = results_of(LABELS, PREDICTED, ("cat", "dog"))
    kept = ("accuracy", "low", "high", "predicted", "labels")
    old = {
        split: {"images": new[split]["samples"]} | {name: new[split][name] for name in kept}
        for split in ("validation", "test")
    }
    run = run_of(tmp_path / "run", old, ("cat", "dog"))
    write_page(run, lambda: pytest.fail("the task is not needed"))
    words = plain_text((tmp_path / "run" / "report.html").read_text())
    assert "right on 88.0 % of the 100 test images" in words
    assert "A run of an earlier version did not keep its probabilities" in words
    assert "A run of an earlier version did not keep them" in words
    assert "What it costs" not in words


def test_the_control_stands_beside_the_student() -> None:
    student = results_of(LABELS, PREDICTED, ("cat", "dog"))
    plain = results_of(LABELS, np.zeros(100, int), ("cat", "dog"))
    epochs = [{"validation_accuracy": 0.4}, {"validation_accuracy": 0.5}]
    control = control_results(student, plain, epochs, kind=IMAGE)
    assert control["test"]["accuracy"] == 0.5
    assert control["curve"] == [0.4, 0.5]
    assert control["lift"]["value"] == pytest.approx(0.38)
    assert control["lift"]["low"] < 0.38 < control["lift"]["high"]
    assert "predicted" not in control["test"]


# --- mistakes and pictures


def test_the_surest_mistakes_come_first(tmp_path: Path) -> None:
    task = Task.open(write_task(tmp_path / "squares", per_class=30))
    split = task.test
    rows = np.arange(len(split))[1:]  # the first could not be decoded
    predicted = (split.labels[rows] + 1) % 3
    predicted[0] = split.labels[rows[0]]  # the only right one
    confidence = np.linspace(0.4, 0.9, len(rows))
    mistakes = worst_mistakes(split, rows, predicted, confidence)
    assert len(mistakes) == WORST
    assert [m["row"] for m in mistakes] == rows[::-1][:WORST].tolist()
    first = mistakes[0]
    assert first["confidence"] == pytest.approx(0.9)
    assert first["name"] == split.name(int(rows[-1]))
    assert first["predicted"] == (first["label"] + 1) % 3
    pictures = previews_of(split, mistakes)
    assert set(pictures) == {m["row"] for m in mistakes}
    assert all(
        preview.picture.startswith(b"\x89PNG") for preview in pictures.values()
    )  # small images
    assert previews_of(split, [{"row": 10**6}]) == {}


# --- the command and its twin in Python


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_task(folder / "squares")
    (folder / "squares" / "red" / "broken.png").write_bytes(b"")
    write_ranking(
        folder / "ranking.json",
        str(folder / "squares"),
        [write_teacher(folder / "zoo" / "headed", seed=1)],
    )
    return folder


@pytest.fixture(autouse=True)
def home(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(world / "home"))


@pytest.fixture(scope="module")
def trained(world: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEACHER_ZOO_HOME", str(world / "home"))
        options = TrainOptions(size=32, batch_size=8, epochs=2, device="cpu", offline=True)
        yield train(
            str(world / "squares"),
            "test_efficientnet",
            str(world / "ranking.json"),
            out=str(world / "run"),
            options=options,
        )


def test_train_in_python_takes_texts_and_gives_the_figures(world: Path, trained: Any) -> None:
    results = RunFolder(world / "run").results()
    assert trained.accuracy.value == results["test"]["accuracy"]
    assert trained.verdict == results["verdict"]
    assert trained.student == world / "run" / "student"
    assert trained.page.is_file()
    assert trained.test.calibration_error == results["test"]["calibration_error"]
    shown = trained._repr_html_()
    assert f"{100 * trained.accuracy.value:.1f} % (" in shown
    assert str(trained.student) in shown
    with pytest.raises(UserError, match="holds a run already"):
        train(world / "squares", "test_efficientnet", out=world / "run")
    with pytest.raises(UserError, match="no_such_net"):
        train(world / "squares", "no_such_net", out=world / "other")


def test_a_run_keeps_what_its_page_and_card_say(world: Path, trained: Any) -> None:
    run = RunFolder(world / "run")
    results, card = run.results(), (run.path / "README.md").read_text()
    test = results["test"]
    assert len(test["confidence"]) == test["samples"]
    wrong = sum(a != b for a, b in zip(test["predicted"], test["labels"], strict=True))
    assert len(test["mistakes"]) == min(wrong, WORST)
    assert results["unreadable"] == {
        "samples": 1,
        "examples": [{"name": "red/broken.png", "reason": "an empty file"}],
    }
    cost = results["cost"]
    assert cost["student"]["multiply_adds"] > 10**6
    assert cost["teachers"][0]["model"] == "headed"
    assert results["control"]["curve"]
    assert "## Size and speed" in card and "calibration error" in card
    words = plain_text(trained.page.read_text())
    assert "red/broken.png: an empty file" in words
    assert "plain control" in words and "the student" in words
    assert trained.page.read_text().count('<img src="data:image/') == len(test["mistakes"])


def test_resume_writes_the_page_again_where_it_is_missing(
    world: Path, trained: Any, capsys: Shown
) -> None:
    before = trained.page.read_text()
    trained.page.unlink()
    resume = ["--out", str(world / "run"), "--resume", "--device", "cpu", "--offline"]
    assert main(resume) == 0
    assert trained.page.read_text() == before
    shown = capsys.readouterr()
    assert f"page: {trained.page}" in shown.out
    assert "calibration error" in shown.out and "multiply-adds" in shown.out
    (world / "squares").rename(world / "moved")
    trained.page.unlink()
    try:
        assert main(resume) == 0
        assert "They cannot be shown: " in plain_text(trained.page.read_text())
    finally:
        (world / "moved").rename(world / "squares")
        trained.page.write_text(before)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_phone_and_desktop(
    world: Path, trained: Any, tmp_path: Path, width: int
) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.open(trained.page, width=width)
        assert browser.console == []
        assert all(address.startswith(("file:", "data:")) for address in browser.requests)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        charts = browser.evaluate(
            "[...document.querySelectorAll('.js-plotly-plot .main-svg')].map(e =>"
            " e.getBoundingClientRect().width)"
        )
        assert charts and all(0 < chart <= width for chart in charts)
