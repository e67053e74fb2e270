"""Contexts in which a stranger's network is built: bounded in size, without random weights."""

from __future__ import annotations

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
