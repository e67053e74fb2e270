"""Names of stored tensors as the network calls them: what training tools put before them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from zoo.errors import TeacherError

# Modules around the network at the time of saving: DataParallel and DistributedDataParallel
# (module), torch.compile (_orig_mod), Lightning and own training code (model, net, network,
# backbone, encoder), transformers' wrapper of timm (timm_model), FSDP and averaged weights.
_WRAPPERS = (
    "module.",
    "_orig_mod.",
    "model.",
    "timm_model.",
    "backbone.",
    "net.",
    "network.",
    "encoder.",
    "ema_model.",
    "_fsdp_wrapped_module.",
    "state_dict.",
)
_ANYWHERE = ("_orig_mod.", "_fsdp_wrapped_module.")  # wraps parts of a network, too
_COUNTERS = ("n_averaged", "num_updates", "decay")  # of averaged weights, beside the network


def network_names(stored: Iterable[str], expected: Collection[str]) -> dict[str, str]:
    """Stored name -> the network's name.

    A wrapper's name is taken off only where every stored name begins with it and no name of the
    network (``expected``) does, again and again; names that then meet are a ``TeacherError``. A
    network whose names fit as they are keeps them.
    """
    names = {name: name for name in stored}
    if names.keys() & set(expected):
        return _without_compile(names, expected)
    names = {name: name for name in names if name not in _COUNTERS}
    while wrapper := _shared_wrapper(names.values(), expected):
        names = {name: inner.removeprefix(wrapper) for name, inner in names.items()}
    return _without_compile(names, expected)


def shared_prefix(stored: Collection[str]) -> str:
    """The wrappers that all stored names begin with, where the network's names are not known."""
    prefix = ""
    while wrapper := _shared_wrapper([name[len(prefix) :] for name in stored], ()):
        prefix += wrapper
    return prefix


def _shared_wrapper(names: Collection[str], expected: Collection[str]) -> str | None:
    for wrapper in _WRAPPERS:
        if any(name.startswith(wrapper) for name in expected):
            continue
        if names and all(name.startswith(wrapper) and name != wrapper for name in names):
            return wrapper
    return None


def _without_compile(names: dict[str, str], expected: Collection[str]) -> dict[str, str]:
    """``names`` without the marks of torch.compile and FSDP inside them."""
    renamed = {}
    for name, inner in names.items():
        if inner not in expected:
            for mark in _ANYWHERE:
                inner = inner.replace(mark, "")
        renamed[name] = inner
    if len(set(renamed.values())) < len(renamed):
        raise TeacherError("two tensors of the weights have the same name without their wrappers")
    return renamed
