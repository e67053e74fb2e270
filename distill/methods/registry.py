"""The distillation methods by name: their needs, their settings with defaults, their recipes."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.methods.configs import (
    AnswersConfig,
    CommitteeConfig,
    Config,
    FeatureConfig,
    PlainConfig,
    TalkConfig,
    TransportConfig,
)
from zoo.errors import UserError
from zoo.terminal.command import validate_choice

if TYPE_CHECKING:
    from distill.methods.recipe import Context, Recipe


@dataclass(frozen=True)
class Method:
    """One method: its default settings, its recipe, and the names of what it needs.

    Attributes
    ----------
    config : dataclass
        The settings with their defaults; ``--set NAME=VALUE`` changes one.
    recipe : str
        ``module:Class`` of the `Recipe`, imported when a run is built, since it needs torch.
    needs : frozenset of str
        ``features``, ``logits``, ``probe_logits``, ``hidden``: these of each teacher's outputs.
        ``split``: teachers that can be run from the middle (`zoo.split_teacher`). ``label_space``:
        teachers that know all of the task's classes by name. ``three_classes``: a task of at least
        three classes. ``two_teachers``: at least two teachers.
    """

    config: Any
    recipe: str
    needs: frozenset[str]


_RECIPE_CLASSES = {
    PlainConfig: "distill.methods.recipe:Plain",
    AnswersConfig: "distill.methods.answers:AnswersRecipe",
    TransportConfig: "distill.methods.transport:Transport",
    FeatureConfig: "distill.methods.feature:Feature",
    TalkConfig: "distill.methods.talk:Talk",
    CommitteeConfig: "distill.methods.committee:CommitteeRecipe",
}


def _method(config: Config, needs: str) -> Method:
    return Method(config, _RECIPE_CLASSES[type(config)], frozenset(needs.split()))


METHODS: dict[str, Method] = {
    "plain": _method(PlainConfig(), ""),
    "kd": _method(
        AnswersConfig(
            answers="logits",
            temperature=4.0,
            task=0.1,
            weight=0.9,
        ),
        "logits label_space",
    ),
    "probe_kd": _method(AnswersConfig(), "probe_logits"),
    "probe_kd_dkd": _method(AnswersConfig(loss="dkd", weight=1.0), "probe_logits three_classes"),
    "probe_kd_ls": _method(
        AnswersConfig(loss="standardised", temperature=2.0, weight=9.0), "probe_logits"
    ),
    "probe_kd_dist": _method(AnswersConfig(loss="dist", weight=5.0), "probe_logits"),
    "transport": _method(TransportConfig(), "logits probe_logits"),
    "feature": _method(FeatureConfig(), "features probe_logits"),
    "talk": _method(TalkConfig(), "split hidden probe_logits"),
    "one_way": _method(TalkConfig(interactive=False), "split hidden features probe_logits"),
    "committee": _method(CommitteeConfig(), "split hidden probe_logits"),
    "committee_random": _method(CommitteeConfig(random=True), "split hidden probe_logits"),
    "average": _method(AnswersConfig(weighting="equal"), "probe_logits"),
    "ca_mkd": _method(AnswersConfig(weighting="confidence"), "probe_logits two_teachers"),
}


def configure(name: str, settings: Mapping[str, str] | None = None) -> Any:
    """The settings of method ``name``: its defaults, changed by ``settings``.

    ``settings`` are texts, as ``--set weight=2`` gives them. Raises ``UserError`` for an unknown
    method or setting, or a value of the wrong kind.
    """
    config = METHODS[validate_choice("method", name, METHODS)].config
    fields = {field.name for field in dataclasses.fields(config)}
    changes: dict[str, Any] = {}
    for key, text in (settings or {}).items():
        validate_choice(f"setting of --method {name}", key, sorted(fields))
        changes[key] = _parse(
            name,
            key,
            text,
            type(getattr(config, key)),
        )
    return dataclasses.replace(config, **changes)


def _parse(
    name: str,
    key: str,
    text: str,
    kind: type,
) -> object:
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[str(text).lower()]
        return kind(text)
    except (ValueError, KeyError) as error:
        raise UserError(f"{key}={text} of --method {name} is no {kind.__name__}") from error


def require(name: str, context: Context) -> None:
    """Raise ``UserError`` where the task or teachers lack what method ``name`` needs."""
    from distill.methods.recipe import refusal

    if reason := refusal(METHODS[name].needs, context):
        raise UserError(f"--method {name} cannot run here: {reason}")


def build(name: str, context: Context, settings: Mapping[str, str] | None = None) -> Recipe:
    """The recipe of method ``name`` for ``context``, its weights drawn from ``context.seed``.

    Raises ``UserError`` where the method is unknown, a setting is wrong, or the task or teachers
    lack what it needs.
    """
    import torch

    config, method = configure(name, settings), METHODS[name]
    require(name, context)
    module, recipe = method.recipe.split(":")
    make = getattr(importlib.import_module(module), recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        built: Recipe = make(config, context)
        return built
