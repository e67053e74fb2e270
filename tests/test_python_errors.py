"""Errors of the Python API name parameters; those of the commands name options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distill.options import Options, TrainOptions
from distill.predict import PredictOptions, predict
from distill.train import main as train_main
from distill.train import train
from selection.rank import RankOptions, rank
from selection.rank import main as rank_main
from selection.settings import Settings
from zoo.errors import UserError
from zoo.terminal.options import option_fields, parameters_text


@pytest.mark.parametrize(
    ("options_class", "values", "message"),
    [
        (Settings, {"top": 0}, "top=0 (--top): a committee needs at least 1 teacher"),
        (Settings, {"probe_size": 3}, "probe_size=3 (--probe-size): at least 4 samples are needed"),
        (Settings, {"device": "tpu"}, "device='tpu' (--device): expected cpu, cuda, cuda:N or mps"),
        (TrainOptions, {"epochs": 0}, "epochs=0 (--epochs): expected 1 or more"),
        (TrainOptions, {"settings": ("a",)}, "settings='a' (--set): expected NAME=VALUE"),
        (
            Options,
            {"mix": 0.5, "views": 1},
            "mix (--mix) needs the teachers' answers on the blends themselves: leave out views"
            " (--views) 1, or mix (--mix)",
        ),
        (
            PredictOptions,
            {"student": Path("s"), "samples": (), "top": -1},
            "top=-1 (--top): expected 1 or more",
        ),
    ],
)
def test_options_made_in_python_name_the_parameter(
    options_class: type[Any], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        options_class(**values)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("options_class", [Settings, RankOptions, Options, TrainOptions])
def test_every_option_is_named_by_its_parameter(options_class: type[Any]) -> None:
    for field in option_fields(options_class):
        sentence = parameters_text(f"{field.flag} 1: no; leave out {field.flag}", options_class)
        assert (
            sentence == f"{field.name}=1 ({field.flag}): no; leave out {field.name} ({field.flag})"
        )
        assert parameters_text(sentence, options_class) == sentence  # once is enough
        quoted = f"do it: python -m selection.rank {field.flag} 1"
        assert parameters_text(quoted, options_class) == quoted
    assert parameters_text("--topmost 1: no --no-top", options_class) == "--topmost 1: no --no-top"
    assert parameters_text("try --no-duplicates", Settings) == (
        "try duplicates=False (--no-duplicates)"
    )


def test_rank_train_and_predict_name_the_parameter(tmp_path: Path) -> None:
    pets = tmp_path / "pets"
    for name in ("amazon/cat", "amazon/dog", "dslr/cat", "dslr/dog"):
        (pets / name).mkdir(parents=True)
        (pets / name / "0.png").write_bytes(b"image")
    with pytest.raises(UserError, match=r"for one of them give task \(--task\) .*amazon, as"):
        rank(str(pets))
    with pytest.raises(UserError, match=r"^label_column=x \(--label-column\): the task"):
        rank("digits", Settings(label_column="x"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"add resume \(--resume\) to .* another out \(--out\)"):
        train("digits", "resnet18", out=tmp_path / "run")
    with pytest.raises(UserError, match=r"^top=0 \(--top\): expected 1 or more$"):
        predict("nowhere", "a.png", top=0)
    with pytest.raises(UserError, match=r"^batch_size=0: expected 1 or more$"):
        predict("nowhere", "a.png", batch_size=0)


def test_commands_name_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert rank_main(["--task", "digits", "--top", "0"]) == 2
    assert capsys.readouterr().err == "error: --top 0: a committee needs at least 1 teacher\n"
    assert train_main(["--task", "digits", "--student", "x", "--mix", "0.5", "--views", "1"]) == 2
    assert capsys.readouterr().err.startswith("error: --mix needs the teachers' answers")
