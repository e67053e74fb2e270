"""How a stranger's network is built: within bounds, and without drawing weights that are replaced anyway."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo.errors import TeacherError

_MODULES = 100_000


@contextmanager
def bounded(limit: int) -> Iterator[None]:
    """Stop any construction in this thread that registers more than ``limit`` scalars or 100,000 modules."""
    from torch.nn.modules import module as registry

    thread, scalars, modules = threading.get_ident(), 0, 0

    def tensor_added(_module: Any, name: str, tensor: Any) -> None:
        nonlocal scalars
        if tensor is not None and threading.get_ident() == thread:
            scalars += tensor.numel()
            if scalars > limit:
                raise TeacherError(f"the config asks for more than {scalars:,} numbers (at {name!r}), "
                                   f"far more than the weights hold")

    def module_added(_module: Any, _name: str, _child: Any) -> None:
        nonlocal modules
        modules += threading.get_ident() == thread
        if modules > _MODULES:
            raise TeacherError(f"the config asks for more than {_MODULES:,} layers")

    hooks = [registry.register_module_parameter_registration_hook(tensor_added),
             registry.register_module_buffer_registration_hook(tensor_added),
             registry.register_module_module_registration_hook(module_added)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def undrawn() -> Iterator[None]:
    """Leave new parameters of this thread unset: the weights replace every one, and drawing them takes seconds."""
    import torch
    from torch.overrides import TorchFunctionMode

    drawn = {torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_}

    class Undrawn(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return args[0] if function in drawn else function(*args, **(kwargs or {}))

    with Undrawn():
        yield
