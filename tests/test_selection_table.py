"""The terminal's table keeps rounds apart and says in one line how the choice came about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selection.ranking import PACKAGED, Ranking, Row
from selection.report.table import left_unprobed, show, summary
from selection.report.verdict import train_command, verdict
from tests.ranking_setting import ranking as ranking_of
from tests.ranking_setting import row as ranking_row
from zoo.terminal.command import typed_as


def ranking(*rows: Row, committee: tuple[str, ...] = ("a",), **candidates: object) -> Ranking:
    return ranking_of(*rows, committee=committee, candidates=candidates)


def row(model: str, value: float | None, size: int, group: int | None) -> Row:
    return ranking_row(model, value, probe_size=size, group=group)


ROUNDS = [{"images": 64, "models": 64}, {"images": 500, "models": 2}]


def test_the_line_of_the_contract() -> None:
    made = ranking(
        row("A", 2.0, 500, 1),
        row("B", 1.9, 500, 1),
        row("C", 9.0, 64, None),
        committee=("A", "B", "C", "D"),
        known=3_012_377,
        loadable=212_000,
        touched=1_900,
        probed=64,
        rounds=[ROUNDS[0]] * 3 + [ROUNDS[1]],
        left_out={"budget": 0, "budget_gb": 0, "limit": 0},
    )
    assert summary(made) == (
        "3,012,377 in the catalogue; 212,000 can be loaded; 1,900 touched by label names; "
        "64 probed in 4 rounds; committee of 4; A and B too close to call"
    )
    assert left_unprobed(made) is None


def test_what_is_not_known_is_not_said() -> None:
    one = ranking(
        row("A", 2.0, 500, 1),
        committee=(),
        known=3,
        loadable=2,
        touched=None,
        probed=1,
        rounds=[ROUNDS[1]],
    )
    assert summary(one) == "3 in the catalogue; 2 can be loaded; 1 probed; no committee"
    assert summary(ranking(row("A", 2.0, 500, 1))) == "committee of 1"


def test_why_models_were_left_unprobed() -> None:
    left = {"budget": 1_234, "budget_gb": 0, "limit": 5}
    assert (
        left_unprobed(ranking(left_out=left))
        == "left unprobed: 5 beyond the shortlist, 1,234 for want of time"
    )


def test_rows_on_fewer_images_stand_apart(capsys: pytest.CaptureFixture[str]) -> None:
    rows = (row("best", 2.0, 500, 1), row("hasty", 9.0, 64, None))
    show(ranking(*rows))
    shown = capsys.readouterr().out
    above, below = shown.split("fell behind in an earlier round")
    assert "best" in above
    assert "hasty" not in above
    assert "hasty" in below
    assert "64" in below
    show(ranking(*(replace(one, probe_size=500) for one in rows)))
    assert "fell behind" not in capsys.readouterr().out


HUB_NAME = "google/vit-base-patch16-224-in21k"
LONG_NAME = "somebody/" + "finetuned-on-my-own-flowers-" * 2 + "final"  # 70 characters


def models(name: str) -> Ranking:
    made = replace(row(name, 0.5, 500, 1), params_total=1_590_000, seconds=12.3)
    return ranking(
        replace(made, license="apache-2.0"),
        replace(row("org/b", 0.25, 500, 2), license="cc-by-nc-sa-4.0"),
        row("org/broken", None, 500, None),
        committee=(name,),
    )


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("name", ["resnet18", HUB_NAME, LONG_NAME])
def test_names_and_licences_stand_whole_at_every_width(
    width: int,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    show(models(name))
    out = capsys.readouterr().out
    above, table, _ = out.split("\n\n", 2)
    lines = table.splitlines()
    assert name in [word for line in lines for word in line.split()]
    assert name in above.replace("\n", " ").replace(". ", " ").split()
    assert all(len(line) <= width or name in line for line in out.splitlines())
    assert "…" not in out
    licence = [line for line in lines if "apache-2.0" in line]
    assert ("left out for width: " in out) == (licence == [] or "12.3" not in table)
    for figure in ("0.500", "0.400–0.600"):
        assert figure in table


def test_at_80_columns_a_name_of_the_hub_has_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show(models(HUB_NAME))
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("1 "))
    assert line.split() == ["1", HUB_NAME, "0.500", "0.400–0.600", "a", "-", "1.59M"]
    assert "left out for width: licence, s;" in out.replace("\n", " ")
    assert "  licence" not in out.split("columns\n")[1]


def test_a_pipe_has_a_line_for_each_model(capsys: pytest.CaptureFixture[str]) -> None:
    name = "timm/" + "long_name." * 5
    show(ranking(*(replace(row(name + str(i), 1.0, 500, 1), license="mit") for i in range(3))))
    lines = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert [name + str(i) in lines[1 + i] and "mit" in lines[1 + i] for i in range(3)] == [True] * 3


def test_every_column_is_explained_with_its_unit(capsys: pytest.CaptureFixture[str]) -> None:
    show(ranking(replace(row("a", 1.0, 500, 1), scores={"leep": -0.5})))
    _, table, legend, _ = capsys.readouterr().out.split("\n\n")
    heads = ["score", "interval", "tie", "knn", "params", "licence", "leep", "s"]
    assert table.splitlines()[0].split() == ["model", *heads]
    explained = [line.split()[0] for line in legend.splitlines() if line[:3].strip()]
    assert [head for head in explained if head in heads] == heads
    words = " ".join(legend.split())
    assert "score knn: the share of your images" in words
    assert "leep how surely this model's own answers tell your classes; higher is better" in words
    for unit in ("0 to 1", "in nats", "seconds", "M million", "in 95 of 100 cases"):
        assert unit in words


def test_the_first_sentence_says_which_teacher_and_how_sure() -> None:
    first = verdict(ranking(row("A", 2.0, 500, 1), row("B", 1.0, 500, 2), committee=("A",)))
    assert first[0] == (
        "Best teacher: A. It is ahead of the other one by more than chance (95 % sure), measured"
        " on 500 of your images."
    )
    assert first[1] == "Train from A alone: no other model clearly adds to it."
    tied = [row(name, 1.0, 500, 1) for name in "ABC"]
    assert verdict(ranking(*tied, committee=("A", "B")))[:2] == [
        "Best teacher: A, but it is too close to call: B and C do as well, as far as 500 of your"
        " images can tell. Any of them is a good choice.",
        "Train from A and B together: each adds to what the others know.",
    ]
    many = verdict(ranking(*(row(name, 1.0, 500, 1) for name in "ABCDEFG")))[0]
    assert "B, C, D and 3 more do as well" in many
    only = verdict(ranking(row("A", 1.0, 500, 1), row("B", None, 500, None), committee=()))
    assert only == [
        "Best teacher: A, the only one that could be measured on 500 of your images.",
        "Train without a teacher: none of these models tells your classes better than their"
        " frequencies do.",
    ]
    failed = ranking(row("B", None, 500, None), committee=())
    assert verdict(failed) == ["No model could be ranked; the reasons are below."]


def test_the_next_command_is_exact_and_can_be_copied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = models("a")
    more = ["--unlabelled", "more photos", "--offline"]
    command = train_command(made, task="my data", file="out/r.json", more=more)
    assert command == (
        "python -m distill.train --task 'my data' --student mobilenetv3_small_050 --ranking"
        " out/r.json --unlabelled 'more photos' --offline --out run"
    )
    monkeypatch.setenv("COLUMNS", "60")
    show(made, command=command)
    assert f"next, train a student:\n  {command}\n" in capsys.readouterr().out
    monkeypatch.delenv("COLUMNS")
    show(made, command=command, saved=False)
    out = capsys.readouterr().out
    assert "next, add --out ranking.json to this command" in out
    with typed_as("teacher-zoo rank"):
        command = train_command(replace(made, committee=()), task="t", file=None, more=())
    student = "--student mobilenetv3_small_050"
    assert command == f"teacher-zoo train --task t {student} --method plain --out run"
    show(replace(made, committee=(), catalogue=PACKAGED), command=command, saved=False)
    out = capsys.readouterr().out
    assert "--out ranking.json" not in out
    assert (
        "small zoo inside this package was ranked; for more models:\n  python -m zoo.crawl" in out
    )
