"""What is downloaded is said first, asked for where it is much, and small and likely ones first."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from selection.probing.budget import Budget, CostModel
from selection.probing.downloads import (
    DownloadPlan,
    announce_download,
    by_value_per_byte,
    refuse_unasked,
)
from selection.rank import Settings, main, rank
from selection.recall.candidates import candidates
from tests.hub_server import Hub, Repo
from tests.places import ROOT
from zoo.card import ModelCard
from zoo.catalogue import Catalogue
from zoo.errors import UserError
from zoo.loading.download import fetch
from zoo.sources import folder

SIZES = {"resnet_mnist": 3_000_000_000, "resnet_fashion": 900_000_000, "resnet_cifar10": 40_000_000}
TASK = ("--task", "digits", "--probe-size", "30", "--device", "cpu")
LIMITS = "--budget-gb 2, --offline or --where 'params_total < 50e6'"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Three packaged teachers on a Hub of one's own; the catalogue says that they are large."""
    from huggingface_hub import constants

    repos = [Repo.of_folder(folder.small_zoo() / name) for name in SIZES]
    cards = [
        ModelCard(
            id=repo.id,
            source="hub",
            location=repo.id,
            sha=repo.sha,
            loadable=True,
            labels=("a digit",),
            params_total=1_000_000,
            weight_bytes=SIZES[repo.id.rpartition("/")[2]],
        )
        for repo in repos
    ]
    with Catalogue.open(write=True) as catalogue:
        catalogue.upsert(cards)
        catalogue.publish()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with Hub(repos=tuple(repos)) as server:
        here = functools.partial(fetch, endpoint=server.url, wait=0.01)
        monkeypatch.setattr("zoo.loading.download.fetch", here)
        yield server


def requests(hub: Hub) -> int:
    return sum(hub.count.values())


def order_of(stderr: str) -> list[str]:
    return re.findall(r"^\[\d/\d\] zoo/(\w+):", stderr, re.MULTILINE)


def card(name: str, size: int | None, *, source: str = "hub") -> ModelCard:
    return ModelCard(id=name, source=source, weight_bytes=size)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.loading.download.is_local", lambda card: card.id == "here")


@pytest.mark.usefixtures("here")
def test_the_plan_counts_what_is_not_on_this_machine() -> None:
    cards = [card("a", 3 * 10**9), card("here", 10**9), card("f", 5, source="folder")]
    plan = DownloadPlan.of(cards, CostModel())
    assert str(plan) == ("1 model, 3.0 GB, about 5 min at 10 MB/s (assumed, none was measured yet)")
    assert plan.needs_consent()
    cards = [*cards, card("b", 90_700_000_000), card("stored", 10**9)]
    plan = DownloadPlan.of(cards, CostModel(), is_needed=lambda card: card.id != "stored")
    assert str(plan).startswith("2 models, 93.7 GB, about 2 h 36 min at 10 MB/s (assumed")
    small = DownloadPlan.of([card("c", 1_500_000), card("d", 2 * 10**9 - 1_500_000)], CostModel())
    assert (small.models, small.needs_consent()) == (2, False)
    assert DownloadPlan.of([card("here", 10**9)], CostModel()).models == 0


@pytest.mark.usefixtures("here")
def test_an_unknown_size_needs_consent_and_fits_no_limit() -> None:
    plan = DownloadPlan.of([card("a", 10**6), card("b", None)], CostModel())
    assert str(plan).startswith("2 models, 1.0 MB and 1 of unknown size, about 1 s")
    assert plan.needs_consent()
    limited = DownloadPlan.of(
        [card("a", 10**6), card("b", None)], CostModel(), budget=Budget(download=1e9)
    )
    assert (limited.models, limited.unknown, limited.needs_consent()) == (1, 0, False)


@pytest.mark.usefixtures("here")
def test_a_limit_needs_no_consent_and_is_named() -> None:
    cards = [card("a", 3 * 10**9), card("b", 10**9), card("c", 15 * 10**8)]
    plan = DownloadPlan.of(cards, CostModel(), budget=Budget(download=2e9))
    assert str(plan) == (
        "at most 1 model, 1.0 GB, about 2 min at 10 MB/s (assumed, none was measured yet),"
        " limited by --budget-gb"
    )
    assert not plan.needs_consent()
    plan = DownloadPlan.of(cards, CostModel(), budget=Budget(100.0))
    assert plan.limit == "--budget"
    assert plan.size == pytest.approx(1e9, rel=0.05)  # 100 s at 10 MB/s
    assert not plan.needs_consent()


@pytest.mark.usefixtures("here")
def test_a_measured_bandwidth_is_kept_for_the_next_command(tmp_path: Path) -> None:
    kept = tmp_path / "home" / "bandwidth.json"
    costs = CostModel(kept)
    assert not costs.is_measured
    costs.record_load(card("tiny", 400_000), 2.0)  # latency
    assert not kept.exists()
    costs.record_load(card("a", 50_000_000), 2.0)
    plan = DownloadPlan.of([card("b", 10**9)], CostModel(kept))
    assert str(plan) == "1 model, 1.0 GB, about 40 s at 25 MB/s (as last measured)"
    for damaged in ("", "[]", '{"bytes_per_second": "much"}', '{"bytes_per_second": -1}'):
        kept.write_text(damaged)
        assert not CostModel(kept).is_measured
    kept.write_text(json.dumps({"bytes_per_second": math.inf}))
    assert not CostModel(kept).is_measured


@pytest.mark.usefixtures("here")
def test_small_and_likely_models_come_first() -> None:
    sizes = {"here": 10**10, "huge": 20 * 10**9, "large": 10**9, "small": 10**8, "weak": 10**8}
    prior = {"here": 0.0, "huge": 3.9, "large": 3.5, "small": 3.0, "weak": 1.0, "unknown": 3.0}
    cards = [card(name, size) for name, size in sizes.items()]
    cards.append(card("unknown", None))
    ordered = by_value_per_byte(cards, prior, CostModel())
    # less half of ln(bytes / 10**8): huge 1.25, large 2.35, small 3, weak 1, unknown 3
    assert [each.id for each in ordered] == ["here", "small", "unknown", "large", "huge", "weak"]


def test_a_model_of_a_hundred_times_the_students_size_must_earn_its_place() -> None:
    with Catalogue.open(write=True) as catalogue:
        catalogue.upsert(
            ModelCard(
                id=f"timm/{name}",
                source="timm",
                architecture="vit_giant",
                params_total=parameters,
                input_size=224,
                loadable=True,
            )
            for name, parameters in (("base", 86e6), ("large", 300e6), ("giant", 5_000e6))
        )
        catalogue.publish()
    chosen = candidates(("cat",), most=2)
    assert [each.id for each in chosen.cards] == ["timm/large", "timm/base"]


@pytest.mark.journey
def test_a_library_is_not_asked(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"3 models, 3\.9 GB, about 7 min .* needs yes \(--yes\)"):
        rank("digits", Settings(probe_size=30))
    assert requests(hub) == 0


@pytest.mark.journey
def test_much_is_refused_without_a_terminal_before_anything_is_fetched(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TASK]) == 2
    out, error = capsys.readouterr()
    assert (out, error) == (
        "",
        "error: this would download 3 models, 3.9 GB, about 7 min at 10 MB/s (assumed, none was"
        f" measured yet); more than 2 GB needs --yes, or a limit: {LIMITS}; nothing was"
        " downloaded\n",
    )
    assert requests(hub) == 0


@pytest.mark.journey
def test_yes_downloads_in_order_and_what_is_here_is_free(
    hub: Hub, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert main([*TASK, "--models", "zoo/resnet_cifar10"]) == 0  # 40 MB, without a question
    shown = capsys.readouterr().err
    assert "download: 1 model, 40.0 MB, about 4 s at 10 MB/s (assumed" in shown
    assert json.loads((home / "bandwidth.json").read_text())["bytes_per_second"] > 0
    assert main([*TASK, "--budget-gb", "1"]) == 0
    shown = capsys.readouterr().err
    assert "download: at most 1 model, 900.0 MB, about " in shown
    assert "(as last measured), limited by --budget-gb" in shown
    assert order_of(shown) == ["resnet_fashion"]
    before = requests(hub)
    assert main([*TASK]) == 2
    assert "1 model, 3.0 GB" in capsys.readouterr().err
    assert requests(hub) == before
    assert main([*TASK, "--offline"]) == 0
    shown = capsys.readouterr().err
    assert "download" not in shown
    assert requests(hub) == before
    assert main([*TASK, "--yes"]) == 0
    assert order_of(capsys.readouterr().err) == ["resnet_mnist"]
    assert main([*TASK]) == 0  # all is here
    assert "download" not in capsys.readouterr().err


@pytest.mark.journey
def test_small_ones_are_fetched_first(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TASK, "--yes"]) == 0
    shown = capsys.readouterr().err
    assert shown.index("download: 3 models, 3.9 GB") < shown.index("[1/3]")
    assert order_of(shown) == ["resnet_cifar10", "resnet_fashion", "resnet_mnist"]


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "status", "fetched"), [("n", 2, 0), ("", 2, 0), ("y", 0, 3)])
def test_a_person_is_asked(
    hub: Hub, tmp_path: Path, answer: str, status: int, fetched: int
) -> None:
    """On a pseudo-terminal; Enter alone is no."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "selection.rank", *TASK],
        stdin=terminal,
        stderr=terminal,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        env=os.environ
        | {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        },
    )
    os.close(terminal)
    shown = ""
    while "[y/N]" not in shown:
        shown += os.read(controller, 4096).decode()
    assert requests(hub) == 0
    os.write(controller, f"{answer}\n".encode())
    while part := _read(controller):
        shown += part
    assert process.wait(60) == status
    assert "download: 3 models, 3.9 GB, about 7 min at 10 MB/s (assumed" in shown
    assert f"to download less: {LIMITS}" in shown
    assert shown.index("to download less") < shown.index("download 3.9 GB? [y/N]")
    assert ("nothing was downloaded" in shown) == (status == 2)
    assert len(list((tmp_path / "hub").glob("models--*"))) == fetched


def _read(controller: int) -> str:
    try:
        return os.read(controller, 4096).decode(errors="replace")
    except OSError:  # the other side is closed
        return ""


@pytest.mark.usefixtures("here")
def test_a_small_plan_is_said_and_none_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zoo.terminal.command._running", ["selection.rank"])
    for cards, said in (([card("a", 10**6)], "download: 1 model, 1.0 MB"), ([card("here", 1)], "")):
        plan = DownloadPlan.of(cards, CostModel())
        refuse_unasked(plan, yes=False, limits="")
        announce_download(plan, yes=False, limits="")
        assert capsys.readouterr().err[: len(said) or None] == said


@pytest.mark.journey
@pytest.mark.parametrize("at", ["Teacher.load", "Teacher.outputs"])
def test_a_model_too_large_for_the_memory_is_a_row_with_its_reason(
    at: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.teacher import Teacher

    name = at.partition(".")[2]
    real = getattr(Teacher, name)

    def exhausted(first: Any, *rest: Any, **options: Any) -> Any:
        """``first`` is the card of ``load``, and the teacher of ``outputs``."""
        if getattr(first, "card", first).id == "resnet_mnist":
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return real(first, *rest, **options)

    monkeypatch.setattr(Teacher, name, exhausted)
    assert main([*TASK, "--models", "resnet_mnist,resnet_fashion"]) == 0
    shown = capsys.readouterr()
    assert "resnet_mnist: failed: memory is exhausted by this model" in shown.err
    assert "1 probed" in shown.out or "resnet_fashion" in shown.out


def test_an_interrupted_ranking_says_what_is_kept_and_how_to_go_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("selection.rank.rank_on_probe", interrupt)
    assert main([*TASK, "--models", "a b"]) == 130
    assert capsys.readouterr().err == (
        "error: stopped; the outputs of the models that were probed are kept in"
        f" {home / 'features'}; to go on: python -m selection.rank {' '.join(TASK)}"
        " --models 'a b'\n"
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--device", "cuda:99"], "--device cuda:99: this machine has no such device"),
        (["--ray", "local:0"], "expected local:N"),
        (["--label-encoder", "some/model"], "needs the package sentence-transformers"),
        (["--score", "trasport"], "did you mean 'transport'? (valid: transport, "),
        (["--also", "knnn"], "did you mean 'knn'?"),
        (["--where", "licence = 'x'"], "license"),
        (["--models", "resnet_mnst"], "did you mean 'resnet_mnist'"),
        (["--catalogue", "absent.duckdb"], "absent.duckdb"),
        (["--unlabelled", "absent"], "--unlabelled absent: there is no such folder"),
    ],
)
def test_what_can_be_refused_is_refused_before_the_task_is_opened(
    words: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("selection.task.Task.open", lambda *_, **__: pytest.fail("opened"))
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == "sentence_transformers" else real(name, *rest),
    )
    assert main(["--task", "digits", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert reason in line
    assert len(line) < 250
