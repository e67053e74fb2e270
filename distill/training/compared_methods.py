"""The methods of a comparison, each with its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from distill.options import Options, settings_of
from zoo.terminal.command import validate_choice
from zoo.terminal.progress import note

# probe_kd from the committee's best teacher alone, best by its head on the validation split
BEST_SINGLE = "best_single"


def method_options(method: str, options: Options) -> Options:
    """The options of ``method``, ``name:a=1:b=2``. Raises ``UserError`` if there is none such."""
    from distill.methods.registry import METHODS, configure

    name, *settings = method.split(":")
    validate_choice("method", name, [*METHODS, BEST_SINGLE])
    if name != options.method or settings:
        options = replace(options, method=name, settings=tuple(settings))
    configure(_trained_method(name), settings_of(options.settings))
    return options


def _trained_method(name: str) -> str:
    return "probe_kd" if name == BEST_SINGLE else name


def same_runs(
    options_of: Mapping[str, Options], source_method: str, *, teachers: int
) -> dict[str, str]:
    """The methods that are the same run as another, with that other.

    The source run stands for probe_kd, and probe_kd for the rest.
    """
    from distill.methods.configs import AnswersConfig
    from distill.methods.registry import METHODS, configure

    first: dict[Any, str] = {}
    same: dict[str, str] = {}
    for method in sorted(options_of, key=lambda m: (m != source_method, m != "probe_kd")):
        options = options_of[method]
        name = _trained_method(options.method)
        config = configure(name, settings_of(options.settings))
        if isinstance(config, AnswersConfig) and config.weighting == "equal" and teachers <= 1:
            config = replace(config, weighting="fitted")  # one teacher has the whole weight
        best_of_several = options.method == BEST_SINGLE and teachers > 1
        kept = first.setdefault((METHODS[name].needs, config, best_of_several), method)
        if kept != method:
            same[method] = kept
            why = ", with one teacher" if teachers == 1 else ""
            note(f"{method} is the same run as {kept} here{why}: trained once")
    return same
