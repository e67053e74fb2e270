"""The torch network of one model: built from its config, its weights checked against the config."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import TeacherError
from zoo.loading.construction import limit_parameters, skip_weight_init
from zoo.loading.preprocessing import Preprocessing, read_json
from zoo.loading.weights import read_headers, weight_files

if TYPE_CHECKING:
    from torch import Tensor, nn

_RESERVED = {
    "features_only",
    "out_indices",
    "feature_cls",
    "feature_cfg",
    "pruned",
    "pretrained_strict",
    "pretrained_filter_fn",
    "pretrained_model_args",
    "kwargs_filter",
    "model_cfg",
    "model_cls",
    "variant",
    "device",
    "dtype",
}
# scalars beside the stored ones: tables that a network derives, heads that it replaces
_SLACK = 5_000_000


@dataclass(frozen=True)
class Network:
    """``module`` in eval mode on the CPU, float32, frozen; ``num_classes`` 0 means no head.

    ``library`` is ``timm`` or ``transformers``.
    """

    module: nn.Module
    num_classes: int
    library: str


def load(folder: Path, preprocessing: Preprocessing) -> Network:
    """The network that ``folder`` (Hub layout) describes, with its weights; ``TeacherError`` on any
    fault of either.

    The config and the weights' header are strangers' data: the network is first built without
    memory (torch's meta device) and must match the header tensor for tensor before anything is
    allocated.
    """
    config = read_json(folder / "config.json")
    files = weight_files(folder)
    header = read_headers(files)
    _check_memory(header.params_total)
    shapes = {name: shape for name, (_, shape) in header.tensors.items()}
    limit = 2 * header.params_total + _SLACK
    network = _build(config, preprocessing, limit=limit, device="meta")
    if network is None or network.library == "timm":
        if network is not None:
            _compare(network.module, shapes)
        network = _build(config, preprocessing, limit=limit, device="cpu")
        assert network is not None
    if network.library == "timm":
        _compare(network.module, shapes)
        _fill(network.module, _tensors(files))
    else:
        network = replace(network, module=_convert(network.module, dict(_tensors(files))))
    network.module.eval().requires_grad_(False)
    return network


def _build(
    config: dict[str, Any],
    preprocessing: Preprocessing,
    *,
    limit: int,
    device: str,
) -> Network | None:
    """The network without weights, of at most ``limit`` scalars.

    ``None`` where its constructor computes with values, which the meta device does not have.
    """
    import torch

    try:
        with limit_parameters(limit), skip_weight_init(), torch.device(device):
            if "architecture" in config:
                return _build_timm(config, preprocessing)
            if "model_type" in config:
                return _build_transformers(config)
    except TeacherError:
        raise
    except Exception as error:
        if device == "meta" and (isinstance(error, NotImplementedError) or "meta" in str(error)):
            return None
        raise TeacherError(
            f"the network cannot be built from its config: {type(error).__name__}: {error}"
        ) from error
    raise TeacherError(
        "config.json names neither an architecture (timm) nor a model_type (transformers)"
    )


def _build_timm(config: dict[str, Any], preprocessing: Preprocessing) -> Network:
    import timm

    architecture = str(config["architecture"]).partition(".")[0]
    if not timm.is_model(architecture):
        raise TeacherError(f"timm {timm.__version__} has no architecture {architecture!r}")
    cfg = config.get("pretrained_cfg")
    cfg = cfg if isinstance(cfg, dict) else config
    num_classes = _class_count(config.get("num_classes", cfg.get("num_classes")))
    overlay: dict[str, Any] = {"input_size": (3, *preprocessing.input_size)}
    if isinstance(cfg.get("fixed_input_size"), bool):
        overlay["fixed_input_size"] = cfg["fixed_input_size"]
    arguments = _model_args(config.get("model_args"))
    if arguments.pop("num_classes", num_classes) != num_classes:  # timm's own exports say it twice
        raise TeacherError(
            f"model_args and config differ about num_classes ({num_classes} in the config)"
        )
    if arguments.get("in_chans", 3) != 3:
        raise TeacherError(
            f"the network takes {arguments['in_chans']} channels, only colour images are fed"
        )
    module = timm.create_model(
        architecture,
        pretrained=False,
        pretrained_cfg_overlay=overlay,
        num_classes=num_classes,
        **arguments,
    )
    return Network(module, num_classes, "timm")


def _model_args(arguments: Any) -> dict[str, Any]:
    """A config's ``model_args`` if they are plain values for the constructor, and nothing that
    names a file or a class.
    """
    import timm

    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise TeacherError(f"model_args is a {type(arguments).__name__}, expected an object")
    reserved = _RESERVED | set(inspect.signature(timm.create_model).parameters)
    for name in arguments:
        if name in reserved or not name.isidentifier() or name.startswith("_"):
            raise TeacherError(f"model_args may not set {name!r}")
    _check_plain(arguments, "model_args", depth=4)
    return dict(arguments)


def _check_plain(value: Any, name: str, *, depth: int) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        if not abs(value) <= 1_000_000:
            raise TeacherError(f"{name} is {value}, expected at most a million")
    elif isinstance(value, str):
        if not re.fullmatch(r"[\w.+-]{0,64}", value):
            raise TeacherError(f"{name} is a text that no architecture takes")
    elif isinstance(value, (list, dict)) and depth and len(value) <= 256:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in pairs:
            _check_plain(key, f"a key of {name}", depth=0)
            _check_plain(part, f"{name}.{key}", depth=depth - 1)
    else:
        raise TeacherError(f"{name} is no plain value, or too large a list")


def _class_count(count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 1_000_000:
        raise TeacherError(f"num_classes is {count!r}, expected a whole number")
    return count


def _build_transformers(config: dict[str, Any]) -> Network:
    try:
        import transformers
    except ImportError as error:
        raise TeacherError(
            "a transformers model: pip install 'teacher-zoo[transformers]' to load it"
        ) from error
    if "auto_map" in config:
        raise TeacherError("the model brings its own code (auto_map), which is never run")
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    family = (
        getattr(transformers, name, None)
        if re.fullmatch(r"\w{1,64}ForImageClassification", name)
        else None
    )
    if not isinstance(family, type) or not issubclass(family, transformers.PreTrainedModel):
        raise TeacherError(
            f"{name or names!r} is no image classifier of transformers {transformers.__version__}"
        )
    plain = _without_loaders(config)
    _check_plain(
        {k: v for k, v in plain.items() if k not in ("id2label", "label2id")}, "config", depth=6
    )
    settings = transformers.AutoConfig.for_model(
        plain.pop("model_type"), attn_implementation="eager", **plain
    )
    if type(settings) is not getattr(family, "config_class", None):
        raise TeacherError(f"model_type {config['model_type']!r} is not that of {name}")
    return Network(family(settings), _class_count(settings.num_labels), "transformers")


def _without_loaders(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` less the keys through which it could fetch code, kernels or other weights."""
    drop = re.compile(
        r"_.*|.*(attn|experts)_implementation|quantization_config|(torch_)?dtype|.*backbone.*|.*kernel_?config.*"
        r"|architectures|transformers_version|use_timm.*|trust_remote_code|name_or_path"
    )
    return {
        key: _without_loaders(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if not drop.fullmatch(str(key))
    }


def _check_memory(scalars: int) -> None:
    """Raise ``TeacherError`` if ``scalars`` float32 weights need more than the available memory."""
    import psutil

    needed, available = 4 * scalars, psutil.virtual_memory().available
    if needed > available:
        raise TeacherError(
            f"{needed / 2**30:.1f} GiB of weights, {available / 2**30:.1f} GiB of memory are"
            " available"
        )


def _derived(name: str) -> bool:
    """Whether a tensor is counted rather than learned."""
    return name.endswith(("num_batches_tracked", "relative_position_index", "position_ids"))


def _compare(module: nn.Module, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise ``TeacherError`` naming the first tensor that the config asks for and the weights lack,
    or the reverse.
    """
    tensors = module.state_dict(keep_vars=True)
    learned = {name: tensor for name, tensor in tensors.items() if not _derived(name)}
    stored = {id(tensor) for name, tensor in learned.items() if name in shapes}
    for name, tensor in learned.items():
        shape = tuple(tensor.shape)
        if name in shapes and shapes[name] != shape:
            raise TeacherError(
                f"tensor {name!r} is {shapes[name]} in the weights, the config asks for {shape}"
            )
        # a tensor with two names is stored once
        if name not in shapes and id(tensor) not in stored:
            raise TeacherError(f"tensor {name!r} {shape} is missing from the weights")
    extra = [name for name in shapes if name not in learned and not _derived(name)]
    if extra:
        raise TeacherError(
            f"tensor {extra[0]!r} of the weights has no place in the network ({len(extra)} such)"
        )


def _tensors(files: Iterable[Path]) -> Iterator[tuple[str, Tensor]]:
    """The stored tensors by name; NaN or infinity in one is a ``TeacherError``."""
    import torch
    from safetensors import SafetensorError, safe_open

    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    tensor = file.get_tensor(name)
                    if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
                        raise TeacherError(f"tensor {name!r} holds NaN or infinite values")
                    yield name, tensor
        except (SafetensorError, OSError) as error:
            raise TeacherError(f"{path.name} is damaged: {error}") from error


def _fill(module: nn.Module, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Copy ``tensors`` into a timm ``module``; half precision becomes float32."""
    import torch

    state = module.state_dict()
    with torch.no_grad():
        for name, tensor in tensors:
            if not _derived(name):
                state[name].copy_(tensor)


def _convert(module: Any, tensors: dict[str, Tensor]) -> nn.Module:
    """``module`` of transformers (on the meta device) again, with ``tensors`` in it, as float32.

    Its own loader is used, since tensors of older files are called differently; it gets nothing but
    our tensors.
    """
    import torch
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        loaded, report = type(module).from_pretrained(
            None,
            config=module.config,
            state_dict=tensors,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            attn_implementation="eager",
        )
    except Exception as error:
        raise TeacherError(
            f"the weights cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    for kind, fault in (
        ("mismatched_keys", "has another shape than the config asks for"),
        ("missing_keys", "is missing from the weights"),
        ("unexpected_keys", "has no place in the network"),
    ):
        names = sorted(key if isinstance(key, str) else key[0] for key in report[kind])
        faulty = [name for name in names if not _derived(name)]
        if faulty:
            raise TeacherError(f"tensor {faulty[0]!r} {fault} ({len(faulty)} such)")
    network: nn.Module = loaded
    return network
