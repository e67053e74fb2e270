"""Contexts in which a stranger's network is built: bounded in size, without random weights."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo.errors import TeacherError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.overrides import TorchFunctionMode

_MODULES = 100_000


@contextmanager
def limit_parameters(limit: int) -> Iterator[None]:
    """Stop a construction in this thread that registers more than ``limit`` scalars or too many
    modules.
    """
    from torch.nn.modules import module as registry

    thread, scalars, modules = threading.get_ident(), 0, 0

    def tensor_added(_module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal scalars
        if tensor is not None and threading.get_ident() == thread:
            scalars += tensor.numel()
            if scalars > limit:
                raise TeacherError(
                    f"the config asks for more than {scalars:,} numbers (at {name!r}), "
                    f"far more than the weights hold"
                )

    def module_added(_module: nn.Module, _name: str, _child: nn.Module | None) -> None:
        nonlocal modules
        modules += threading.get_ident() == thread
        if modules > _MODULES:
            raise TeacherError(f"the config asks for more than {_MODULES:,} layers")

    hooks = [
        registry.register_module_parameter_registration_hook(tensor_added),
        registry.register_module_buffer_registration_hook(tensor_added),
        registry.register_module_module_registration_hook(module_added),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def skip_weight_init() -> TorchFunctionMode:
    """A context in which this thread's new parameters are not initialised at random.

    The weights replace every one of them, and drawing them takes seconds.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    initialisers = {torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_}

    class WithoutInit(TorchFunctionMode):
        def __torch_function__(
            self,
            function: Any,
            types: Any,
            args: Any = (),
            kwargs: Any = None,
        ) -> Any:
            return args[0] if function in initialisers else function(*args, **(kwargs or {}))

    return WithoutInit()


def check_plain(value: Any, name: str, *, depth: int) -> None:
    """Raise ``TeacherError`` unless ``value`` (called ``name``) is made of small numbers and words.

    Lists and objects may be nested ``depth`` deep.
    """
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        if not abs(value) <= 1_000_000:
            raise TeacherError(f"{name} is {value}, expected at most a million")
    elif isinstance(value, str):
        if not re.fullmatch(r"[\w.+|-]{0,64}", value):
            raise TeacherError(f"{name} is a text that no architecture takes")
    elif isinstance(value, (list, dict)) and depth and len(value) <= 256:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in pairs:
            check_plain(key, f"a key of {name}", depth=0)
            check_plain(part, f"{name}.{key}", depth=depth - 1)
    else:
        raise TeacherError(f"{name} is no plain value, or too large a list")


def class_count(count: Any) -> int:
    """``count`` as a number of classes; ``TeacherError`` where it is none."""
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 1_000_000:
        raise TeacherError(f"num_classes is {count!r}, expected a whole number")
    return count


def is_derived(name: str) -> bool:
    """Whether a tensor is counted rather than learned."""
    return name.endswith(("num_batches_tracked", "relative_position_index", "position_ids"))
