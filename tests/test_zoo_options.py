"""Options stand once: command line, JSON and tables made from a dataclass lead back to it."""

from __future__ import annotations

import doctest
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo.terminal.options
from zoo.crawl import CrawlOptions
from zoo.doctor import DoctorOptions
from zoo.errors import UserError
from zoo.query import QueryOptions
from zoo.terminal.command import byte_size, run
from zoo.terminal.options import (
    EXPLICIT,
    as_dict,
    check_bounds,
    command_of,
    flag_of,
    from_dict,
    narrow,
    option_fields,
    options_table,
)

HELP = typer.Option(help="words of help")


@dataclass(frozen=True, kw_only=True)
class KeptOptions:
    student: Annotated[str, HELP]
    epochs: Annotated[int | None, typer.Option(min=1)] = None
    share: Annotated[float, typer.Option(min=0, max=1)] = 0.5
    settings: Annotated[tuple[str, ...], typer.Option("--set")] = ()
    flip: Annotated[bool | None, HELP] = None
    control: Annotated[bool, HELP] = True
    folder: Annotated[Path | None, HELP] = None
    largest: Annotated[int | None, typer.Option(parser=byte_size)] = None

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class AllOptions(KeptOptions):
    images: Annotated[tuple[Path, ...], typer.Argument(help="images")]
    device: Annotated[str, HELP] = "auto"
    explicit: Annotated[frozenset[str], EXPLICIT] = frozenset()


@dataclass(frozen=True, kw_only=True)
class UncheckedOptions:
    names: Annotated[tuple[str, ...], typer.Argument(help="names")]
    offline: Annotated[bool, typer.Option("--offline", help="this|that")] = False
    epochs: Annotated[int, typer.Option(min=1)] = 1


words = st.text(st.sampled_from("abcé |=:*"), min_size=1).map(str.strip).filter(bool)
paths = words.map(Path)
all_options = st.builds(
    AllOptions,
    student=words,
    epochs=st.none() | st.integers(1, 10**9),
    share=st.floats(0, 1),
    settings=st.lists(words).map(tuple),
    flip=st.none() | st.booleans(),
    control=st.booleans(),
    folder=st.none() | paths,
    largest=st.none() | st.integers(1, 10**15),
    images=st.lists(paths, min_size=1).map(tuple),
    device=words,
    explicit=st.just(frozenset()),
)


def as_words(options: Any) -> list[str]:
    """The command line that asks for ``options``: one word a value."""
    switches: list[str] = []
    arguments: list[str] = []
    for field in option_fields(type(options)):
        value = getattr(options, field.name)
        if isinstance(field.info, typer.models.ArgumentInfo):
            arguments += map(str, value)
        elif isinstance(value, bool):
            switches.append(field.flag if value else field.flag.replace("--", "--no-", 1))
        elif isinstance(value, tuple):
            switches += [f"{field.flag}={item}" for item in value]
        elif value is not None:
            switches.append(f"{field.flag}={value}")
    return [*switches, "--", *arguments]


def parsed(words: list[str], options_class: type[Any] = AllOptions) -> Any:
    """The options that the command line ``words`` is understood as."""
    received: list[Any] = []
    assert run(command_of(options_class, received.append), words, name="x") == 0
    return received[0]


def without_explicit(options: AllOptions) -> dict[str, Any]:
    return {f.name: getattr(options, f.name) for f in fields(options) if f.name != "explicit"}


@pytest.mark.journey
@settings(deadline=None)
@given(all_options)
def test_the_command_line_leads_back_to_the_options(options: AllOptions) -> None:
    assert without_explicit(parsed(as_words(options))) == without_explicit(options)


@pytest.mark.journey
@settings(deadline=None)
@given(all_options)
def test_json_leads_back_to_the_options(options: AllOptions) -> None:
    values = json.loads(json.dumps(as_dict(options)))
    assert from_dict(AllOptions, values, source="config.json") == options


@pytest.mark.journey
@settings(deadline=None)
@given(all_options)
def test_the_kept_part_has_the_same_values(options: AllOptions) -> None:
    kept = narrow(options, KeptOptions)
    assert type(kept) is KeptOptions
    assert as_dict(kept).items() <= as_dict(options).items()


def test_defaults_are_those_of_the_dataclass() -> None:
    assert without_explicit(parsed(["--student", "s", "image"])) == without_explicit(
        AllOptions(student="s", images=(Path("image"),))
    )


def test_explicit_names_are_those_given() -> None:
    options = parsed(["--student=s", "--set=a=1", "--device=auto", "image"])
    assert options.explicit == {"student", "settings", "device", "images"}


def test_texts_are_separated_by_commas_and_paths_are_not() -> None:
    options = parsed(["--student=s", "--set", "a=1, b=2,", "--set", "c=3", "one,two.png"])
    assert options.settings == ("a=1", "b=2", "c=3")
    assert options.images == (Path("one,two.png"),)
    assert parsed(["one,two", "three"], UncheckedOptions).names == ("one,two", "three")


def test_a_parser_reads_the_text_and_its_error_names_the_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert parsed(["--student=s", "--largest=2kB", "image"]).largest == 2000
    command = command_of(AllOptions, lambda _: None)
    assert run(command, ["--student=s", "--largest=2XB", "image"], name="x") == 2
    expected = "error: --largest '2XB': expected a size such as 500MB or 20GB\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("values", [{"epochs": 0}, {"share": 1.5}, {"share": float("nan")}])
def test_bounds_hold_in_python_json_and_on_the_command_line(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(UserError, match=f"--{name}"):
        KeptOptions(student="s", **values)
    with pytest.raises(UserError, match=f"--{name}"):
        from_dict(KeptOptions, {"student": "s"} | values, source="config.json")
    words = ["--student=s", f"--{name}={values[name]}"]
    assert run(command_of(KeptOptions, lambda _: None), words, name="x") == 2


def test_both_bounds_are_named() -> None:
    with pytest.raises(UserError, match=r"--share 1\.5: expected 0 or more and 1 or less"):
        KeptOptions(student="s", share=1.5)


def test_a_whole_number_in_json_is_a_number() -> None:
    share = from_dict(KeptOptions, {"student": "s", "share": 1}, source="f").share
    assert share == 1.0 and type(share) is float


def test_bounds_hold_where_the_class_does_not_check_them_itself() -> None:
    with pytest.raises(UserError, match="--epochs 0: expected 1 or more"):
        from_dict(UncheckedOptions, {"names": ["a"], "epochs": 0}, source="config.json")
    command = command_of(UncheckedOptions, lambda _: None)
    assert run(command, ["a", "--epochs", "0"], name="x") == 2


def test_null_is_a_value_of_optional_fields_only() -> None:
    values = {"student": "s", "epochs": None, "folder": None}
    assert from_dict(KeptOptions, values, source="f") == KeptOptions(student="s")


def test_what_another_version_wrote_is_ignored_only_where_it_is_off() -> None:
    values = {"student": "s", "louder": False, "mix": 0.0, "extra": None, "names": []}
    assert from_dict(KeptOptions, values, source="f") == KeptOptions(student="s")
    with pytest.raises(UserError, match="louder"):
        from_dict(KeptOptions, values | {"louder": True}, source="f")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "ten"}, "config.json: epochs is 'ten', expected whole number"),
        ({"epochs": True}, "epochs is True"),
        ({"settings": "a=1"}, "settings is 'a=1', expected texts"),
        ({"control": None}, "control is None"),
    ],
)
def test_json_of_another_type_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_dict(KeptOptions, {"student": "s"} | values, source="config.json")
    with pytest.raises(UserError, match="student is missing"):
        from_dict(KeptOptions, {}, source="config.json")


@pytest.mark.parametrize("options_class", [AllOptions, CrawlOptions, QueryOptions, DoctorOptions])
def test_help_and_table_show_every_option(
    options_class: type[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    names = {field.name for field in fields(options_class)} - {"explicit"}
    assert run(command_of(options_class, lambda _: None), ["--help"], name="x") == 0
    shown, table = capsys.readouterr().out.lower(), options_table(options_class)
    for name in names:
        flag = flag_of(options_class, name)
        assert flag.lower() in shown
        assert f"| `{flag}" in table
    assert len(table.splitlines()) == len(names) + 2


def test_a_flag_with_a_name_of_its_own_cannot_be_switched_off_and_bars_are_escaped() -> None:
    offline = next(f for f in option_fields(UncheckedOptions) if f.name == "offline")
    control = next(f for f in option_fields(KeptOptions) if f.name == "control")
    assert (offline.spelling, control.spelling) == ("--offline", "--control / --no-control")
    assert "| `--offline` | flag |  | this\\|that |" in options_table(UncheckedOptions)


def test_the_examples_of_the_docstring_run() -> None:
    failed, attempted = doctest.testmod(zoo.terminal.options)
    assert attempted > 5
    assert failed == 0
