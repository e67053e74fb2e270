"""The options of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from zoo.errors import UserError

if TYPE_CHECKING:
    from zoo.card import ModelCard

DEFAULT_METHOD = "probe_kd"
STEPS = 2_000  # of a run when --epochs is not given: minutes on two cores for a small student


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run was asked to be; ``None`` where the default follows from the task. They are kept
    in ``config.json``.
    """

    task: str
    student: str
    ranking: str | None = None
    top: int | None = None
    method: str = DEFAULT_METHOD
    settings: tuple[str, ...] = ()
    unlabelled: str | None = None
    pretrained: bool = False
    epochs: int | None = None
    seed: int = 0
    size: int | None = None
    views: int | None = None
    batch_size: int = 64
    rate: float | None = None
    optimizer: str = "adamw"
    labelled_share: float | None = None
    flip: bool | None = None
    mix: float = 0.0
    precision: str = "fp32"
    accumulate: int = 1
    student_args: str | None = None
    teacher_size: int | None = None


def from_config(config: Mapping[str, Any]) -> tuple[Options, tuple[ModelCard, ...]]:
    """The options and the committee that a ``config.json`` was written with."""
    from zoo.card import ModelCard

    given = config["options"] | {"method": config["method"], "seed": config["seed"]}
    known = {field.name: given[field.name] for field in fields(Options) if field.name in given}
    known["settings"] = tuple(known.get("settings", ()))
    return Options(**known), tuple(ModelCard.from_row(dict(card)) for card in config["teachers"])


def settings_of(texts: Sequence[str]) -> dict[str, str]:
    """``["weight=2"]`` -> ``{"weight": "2"}``; ``UserError`` for anything else."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"--set {text!r}: expected NAME=VALUE, such as --set weight=2")
        found[name.strip()] = value.strip()
    return found
