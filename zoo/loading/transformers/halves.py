"""A network of transformers as two halves around a chain of layers, with the tensors of the one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import TeacherError

if TYPE_CHECKING:
    from torch import Tensor, nn


class CannotSplit(TeacherError):
    """The network's family is not known here; the message is a sentence for the user."""


def cut_after(count: int, share: float) -> int:
    """How many of ``count`` layers lie below the cut: at least one, and one above it."""
    return min(max(round(count * share), 1), max(count - 1, 1))


class Interrupted(Exception):
    """A network was left at the cut, with this hidden state."""

    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden


@dataclass(frozen=True)
class Halves:
    """A network of transformers, twice, with the tensors of the one: ``lower`` ends at the cut with
    ``Interrupted``; ``upper`` goes on there with the hidden state that lies in ``entry``, whatever
    it is shown. ``layers`` is the number of those above the cut.
    """

    lower: nn.Module
    upper: nn.Module
    entry: list[Tensor]
    layers: int

    @classmethod
    def of(
        cls,
        network: nn.Module,
        share: float,
        *,
        in_tuples: bool = False,
    ) -> Halves:
        """The halves around the longest chain of layers; ``CannotSplit`` where there is none.

        ``in_tuples``: the layers of this family give their state as the first of two values.
        """
        from torch import nn

        class Exit(nn.Module):
            def forward(
                self,
                hidden_states: Tensor,
                *_: Any,
                **__: Any,
            ) -> Tensor:
                raise Interrupted(hidden_states)

        class Entry(nn.Module):
            def forward(
                self,
                hidden_states: Tensor,
                *_: Any,
                **__: Any,
            ) -> Any:
                state = entry[0] if entry else hidden_states
                return (state, None) if in_tuples else state

        name, count = longest_chain(network)
        cut = cut_after(count, share)
        entry: list[Tensor] = []
        lower, upper = with_same_tensors(network), with_same_tensors(network)
        chain: Any = lower.get_submodule(name)
        chain[cut] = _in_place_of(chain[cut], Exit())
        chain = upper.get_submodule(name)
        for place in range(cut):
            chain[place] = _in_place_of(chain[place], Entry())
        return cls(lower, upper, entry, count - cut)


def _in_place_of(layer: nn.Module, substitute: nn.Module) -> nn.Module:
    """``substitute`` with the plain settings of ``layer``: some networks read them as they run."""
    for name, value in vars(layer).items():
        if isinstance(value, (str, int, float)) and not name.startswith("_"):
            setattr(substitute, name, value)
    return substitute


def longest_chain(network: nn.Module) -> tuple[str, int]:
    """The name of the list of layers that holds most parameters, and its length."""
    from torch import nn

    sizes = {
        name: (sum(parameter.numel() for parameter in module.parameters()), len(module))
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList)
    }
    name = max(sizes, key=lambda name: sizes[name][0], default="")
    if not name or sizes[name][1] < 2:
        raise CannotSplit(f"{type(network).__name__} is no chain of layers")
    return name, sizes[name][1]


def with_same_tensors(network: nn.Module) -> nn.Module:
    """A copy of the modules of ``network`` around the same parameters and buffers."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def gives_tuples(network: nn.Module, run: Callable[[], object]) -> bool:
    """Whether the layers of the longest chain give tuples, as seen while ``run`` is called."""
    name, _ = longest_chain(network)
    seen: list[bool] = []
    layers: Any = network.get_submodule(name)
    hook = layers[0].register_forward_hook(
        lambda _layer, _arguments, output: seen.append(isinstance(output, tuple))
    )
    try:
        run()
    finally:
        hook.remove()
    return any(seen)
