"""Options stand once: the fields of a frozen dataclass are the options of a command.

The command line, ``config.json`` and the documentation's tables are made from these fields. A field
is annotated as typer wants it; a positional argument is a ``typer.Argument``:

>>> @dataclass(frozen=True, kw_only=True)
... class GreetOptions:
...     name: Annotated[str, typer.Argument(help="whom to greet")]
...     times: Annotated[int, typer.Option(min=1, help="how often")] = 1
...     words: Annotated[tuple[str, ...], typer.Option(help="what to say")] = ("hello",)
...     explicit: Annotated[frozenset[str], EXPLICIT] = frozenset()
...
...     def __post_init__(self) -> None:
...         check_bounds(self)  # min and max hold in Python and in JSON too
>>> def greet(options: GreetOptions) -> None:
...     "Greet somebody."
...     print(*options.words, options.name, options.times, sorted(options.explicit))
>>> from zoo.terminal.command import run
>>> run(command_of(GreetOptions, greet), ["you", "--words", "good,day"], name="greet")
good day you 1 ['name', 'words']
0
>>> as_dict(GreetOptions(name="you", times=2))
{'name': 'you', 'times': 2, 'words': ['hello']}
>>> from_dict(GreetOptions, {"name": "you", "loud": False}, source="config.json").times
1
>>> print(options_table(GreetOptions))
| option | value | default | meaning |
| --- | --- | --- | --- |
| `NAME` | text | required | whom to greet |
| `--times` | whole number | `1` | how often |
| `--words` | texts | `hello` | what to say |

Rules:

- A ``tuple[X, ...]`` option may be repeated; texts may also be separated by commas.
- ``typer.Option(parser=f)``: ``f`` turns the text of the command line into the field's value. It
  raises ``UserError`` with what came and what was expected; the option's name is put before it.
- Further checks belong into ``__post_init__`` and raise ``UserError`` with the option's name.
  ``named_as_parameters(Options)`` around them lets the sentences fit Python, too.
- Options that are not kept in ``config.json`` stand in a subclass; ``narrow(options, Base)`` gives
  the part that is kept.
- A field annotated with ``EXPLICIT`` receives the names of the fields given on the command line.
- JSON of another version: a name that is not known here is ignored where its value is off (null,
  false, zero or empty) and refused otherwise, because it changed what was done.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from zoo.errors import UserError
from zoo.terminal.command import in_command, split_list

T = TypeVar("T")

EXPLICIT = object()
CatalogueFile = Annotated[Path | None, typer.Option(help="the catalogue's file")]

_CONTEXT = "typer_context"
_OPTION = re.compile(r"(?<![\w(-])--[a-z][\w-]*")
_OPTION_AND_VALUE = re.compile(r"(--[a-z][\w-]*) ('[^']*'|[^\s:]+):")  # a sentence begins so
_COMMAND = re.compile(r"(?=python -m |teacher-zoo )")
_VALUE_NAMES = {str: "text", int: "whole number", float: "number", Path: "path", bool: "flag"}


@dataclass(frozen=True)
class OptionField:
    """One option or positional argument, as its dataclass declares it."""

    name: str
    value_type: Any  # of one item where there are several
    optional: bool  # None is a value
    several: bool  # the field is a tuple
    info: OptionInfo | ArgumentInfo
    default: Any  # MISSING where it is required

    @property
    def flag(self) -> str:
        """``--probe-size``; ``IMAGES`` for a positional argument."""
        if isinstance(self.info, ArgumentInfo):
            return self.info.metavar or self.name.upper()
        return next(
            (flag for flag in self._declared_flags() if flag.startswith("--")),
            "--" + self.name.replace("_", "-"),
        )

    @property
    def spelling(self) -> str:
        """How it is typed: ``--control / --no-control`` for a flag that can be switched off."""
        switches = self.value_type is bool and not self._declared_flags()
        return f"{self.flag} / --no-{self.flag[2:]}" if switches else self.flag

    def _declared_flags(self) -> list[str]:
        """Typer keeps the first flag of ``Annotated[..., Option("--set")]`` as the default."""
        first = [self.info.default] if isinstance(self.info.default, str) else []
        return [*first, *(self.info.param_decls or ())]

    def parameter(self) -> inspect.Parameter:
        """The parameter of a function from which typer makes the option."""
        info, default = copy.copy(self.info), self.default
        value_type: Any = self.value_type
        if info.parser is not None:
            value_type, info.parser = str, None
            default = MISSING if default is MISSING else None
        if self.several:
            value_type = list[value_type]
            default = default if default is MISSING else list(default) or None
        if self.optional or default is None:
            value_type = value_type | None
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is MISSING else default,
            annotation=Annotated[value_type, info],
        )

    def from_command_line(self, value: Any) -> Any:
        """The field's value for what typer gives; ``UserError`` where the parser refuses it."""
        if self.info.parser is not None:
            try:
                return self.info.parser(value)
            except UserError as error:
                raise UserError(f"{self.flag} {error}") from error
        if not self.several:
            return value
        by_commas = self.value_type is str and isinstance(self.info, OptionInfo)
        return tuple(split_list(value) if by_commas else value)

    def from_json(self, value: Any) -> Any:
        """The field's value for what JSON holds; ``ValueError`` where its type is another."""
        if value is None and self.optional:
            return None
        if not self.several:
            return _scalar(value, self.value_type)
        if not isinstance(value, list | tuple):
            raise ValueError
        return tuple(_scalar(item, self.value_type) for item in value)

    def value_name(self) -> str:
        """What kind of value the option takes, in words."""
        name = _VALUE_NAMES.get(self.value_type, "text" if self.info.parser else "value")
        return f"{name}s" if self.several else name


def _scalar(value: Any, value_type: Any) -> Any:
    if value_type is Path and isinstance(value, str):
        return Path(value)
    if value_type is float and type(value) is int:
        return float(value)
    if type(value) is not value_type:
        raise ValueError
    return value


def option_fields(options_class: type[Any]) -> list[OptionField]:
    """The options of ``options_class`` in order; fields without a typer annotation are left out."""
    hints = get_type_hints(options_class, include_extras=True)
    options = []
    for field in fields(options_class):
        annotated, *marks = get_args(hints[field.name]) or (hints[field.name],)
        infos = [mark for mark in marks if isinstance(mark, OptionInfo | ArgumentInfo)]
        if infos:
            value_type, optional, several = _parts(annotated)
            default = field.default
            if field.default_factory is not MISSING:
                default = field.default_factory()
            options.append(
                OptionField(field.name, value_type, optional, several, infos[0], default)
            )
    return options


def _parts(annotation: Any) -> tuple[Any, bool, bool]:
    """The type of one value, whether ``None`` is allowed, whether there may be several."""
    optional = get_origin(annotation) in (Union, UnionType)
    if optional:
        annotation = next(part for part in get_args(annotation) if part is not NoneType)
    several = get_origin(annotation) is tuple
    return (get_args(annotation)[0] if several else annotation), optional, several


def flag_of(options_class: type[Any], name: str) -> str:
    """The flag of the field ``name`` as typed: ``--probe-size`` of ``probe_size``."""
    return next(field.flag for field in option_fields(options_class) if field.name == name)


@contextmanager
def named_as_parameters(options_class: type[Any], *further: str) -> Iterator[None]:
    """Where no command runs, ``UserError``s of the block name parameters beside options.

    It may decorate a function of the Python API. The options are those of ``options_class`` and the
    ``further`` parameters, whose options are named as they are.
    """
    try:
        yield
    except UserError as error:
        if not in_command():
            error.args = (parameters_text(str(error), options_class, *further), *error.args[1:])
        raise


def parameters_text(sentence: str, options_class: type[Any], *further: str) -> str:
    """``sentence`` with parameters beside its options; commands that it quotes stay as they are.

    ``--top 0: ...`` becomes ``top=0 (--top): ...``, ``leave out --mix`` ``leave out mix (--mix)``.
    """
    names = {f"--{name}": name for name in further}
    for field in option_fields(options_class):
        if isinstance(field.info, OptionInfo):
            names[field.flag] = field.name
            if field.spelling != field.flag:  # a flag that can be switched off
                names[f"--no-{field.flag[2:]}"] = f"{field.name}=False"
    words, *command = _COMMAND.split(sentence, maxsplit=1)
    beginning = _OPTION_AND_VALUE.match(words)
    if beginning and beginning[1] in names:
        flag, value = beginning.groups()
        words = f"{names[flag]}={value} ({flag}):{words[beginning.end() :]}"

    def with_parameter(match: re.Match[str]) -> str:
        return f"{names[match[0]]} ({match[0]})" if match[0] in names else match[0]

    return "".join([_OPTION.sub(with_parameter, words), *command])


def command_of(
    options_class: type[T], function: Callable[[T], int | None]
) -> Callable[..., int | None]:
    """``function`` as ``zoo.terminal.command.run`` wants it: its options are the class's fields."""
    known = option_fields(options_class)

    def command(**values: Any) -> int | None:
        context = values.pop(_CONTEXT)
        given = {field.name: values[field.name] for field in known}
        arguments = {
            field.name: field.from_command_line(given[field.name])
            for field in known
            if given[field.name] is not None
        }
        if name := _explicit_field(options_class):
            arguments[name] = frozenset(_explicit_names(context, given))
        options = options_class(**arguments)
        check_bounds(options)
        return function(options)

    parameters = [field.parameter() for field in known]
    context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    command.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
    command.__annotations__ = {
        parameter.name: parameter.annotation for parameter in [context, *parameters]
    }
    command.__doc__, command.__name__ = function.__doc__, getattr(function, "__name__", "command")
    return command


def _explicit_field(options_class: type[Any]) -> str | None:
    hints = get_type_hints(options_class, include_extras=True)
    return next((name for name, hint in hints.items() if EXPLICIT in get_args(hint)), None)


def _explicit_names(context: typer.Context, names: Mapping[str, Any]) -> Iterator[str]:
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            yield name


def check_bounds(options: Any) -> None:
    """Raise ``UserError`` where a number is not within the ``min`` and ``max`` of its field."""
    for field in option_fields(type(options)):
        value, low, high = getattr(options, field.name), field.info.min, field.info.max
        if value is None or (low is None and high is None):
            continue
        low_holds = low is None or value >= low
        high_holds = high is None or value <= high
        if not (low_holds and high_holds):  # NaN fails both comparisons
            at_least = "" if low is None else f"{low} or more"
            at_most = "" if high is None else f"{high} or less"
            expected = " and ".join(part for part in (at_least, at_most) if part)
            raise UserError(f"{field.flag} {value}: expected {expected}")


def narrow(options: Any, base: type[T]) -> T:
    """``options`` as an object of their base class ``base``, with its fields only."""
    return base(**{field.name: getattr(options, field.name) for field in fields(base)})  # type: ignore[arg-type]


def as_dict(options: Any) -> dict[str, Any]:
    """The options as JSON can hold them: paths as text, tuples as lists."""
    return {
        field.name: _plain(getattr(options, field.name)) for field in option_fields(type(options))
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_dict(options_class: type[T], values: Mapping[str, Any], *, source: str) -> T:
    """The options that ``as_dict`` gave; ``source`` names the file in an error.

    Missing names take their default. Raises ``UserError`` for a value of another type or out of
    bounds, for a missing value without a default, and for unknown names whose value is not off.
    """
    known = {field.name: field for field in option_fields(options_class)}
    unknown = sorted(name for name, value in values.items() if name not in known and value)
    if unknown:
        raise UserError(
            f"{source} was written by another version of teacher-zoo: its option"
            f" {', '.join(unknown)} is not known here; use that version, or start anew"
        )
    arguments = {}
    for name, field in known.items():
        if name in values:
            try:
                arguments[name] = field.from_json(values[name])
            except ValueError:
                raise UserError(
                    f"{source}: {name} is {values[name]!r}, expected {field.value_name()}"
                ) from None
        elif field.default is MISSING:
            raise UserError(f"{source}: {name} is missing")
    options = options_class(**arguments)
    check_bounds(options)
    return options


def options_table(options_class: type[Any]) -> str:
    """The options as a table in Markdown, for the documentation."""
    rows = [
        "| option | value | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for field in option_fields(options_class):
        meaning = (field.info.help or "").replace("|", "\\|")
        rows.append(
            f"| `{field.spelling}` | {field.value_name()} | {_default_text(field)} | {meaning} |"
        )
    return "\n".join(rows)


def _default_text(field: OptionField) -> str:
    if field.default is MISSING:
        return "required"
    if field.default is False or field.default in (None, (), ""):
        return ""
    plain = _plain(field.default)
    return f"`{', '.join(map(str, plain)) if field.several else plain}`"
