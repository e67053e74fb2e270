"""The torch network of one model: built from its config, its weights checked against the config."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import TeacherError
from zoo.loading.backbones import first_architecture, is_embedding, known_backbone
from zoo.loading.checkpoint.architecture import timm_name
from zoo.loading.checkpoint.head import with_head_of
from zoo.loading.checkpoint.names import network_names
from zoo.loading.construction import (
    check_plain,
    class_count,
    is_derived,
    limit_parameters,
    skip_weight_init,
)
from zoo.loading.inputs.preprocessing import Preprocessing, read_json, timm_settings
from zoo.loading.inputs.tokenization import Tokenization
from zoo.loading.transformers.network import (
    Built,
    answers_of,
    fill,
    is_needed,
)
from zoo.loading.transformers.network import build as build_transformers
from zoo.loading.weights import check_floats, read_headers, weight_files

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
_LARGEST_WEIGHT = 1e10  # trained weights stay far below
Shapes = dict[str, tuple[int, ...]]
T = TypeVar("T")


@dataclass(frozen=True)
class Network:
    """``module`` in eval mode on the CPU, float32, frozen; ``num_classes`` 0 means no head.

    ``library`` is ``timm`` or ``transformers``. ``answers``, of a backbone of transformers and of
    networks of texts, takes the module and a normalised batch and gives pooled features (B, D) and
    logits (B, C_t), or None without a head. ``sees_padding``: of a text network whose states change
    with the padding beside them.
    """

    module: nn.Module
    num_classes: int
    library: str
    answers: Callable[[Any, Tensor], tuple[Tensor, Tensor | None]] | None = None
    sees_padding: bool = False


def load(folder: Path, preprocessing: Preprocessing | Tokenization) -> Network:
    """The network that ``folder`` (Hub layout) describes, with its weights; ``TeacherError`` on any
    fault of either.

    The config and the weights' header are strangers' data: the network is first built without
    memory (torch's meta device) and must match the header tensor for tensor before anything is
    allocated. Where the two differ about the number of classes, the weights are right.
    """
    config = read_json(folder / "config.json")
    files = weight_files(folder)
    header = read_headers(files)
    check_floats(header, config.get("quantization_config"))
    config = with_head_of(config, header.tensors)
    shapes = {name: shape for name, (_, shape) in header.tensors.items()}
    if "architecture" in config:
        assert isinstance(preprocessing, Preprocessing), "timm's networks look at images"
        network = _load_timm(config, preprocessing, files, shapes)
    elif "model_type" in config:
        network = _load_transformers(config, files, shapes)
    else:
        raise TeacherError(
            "config.json names neither an architecture (timm) nor a model_type (transformers)"
        )
    network.module.eval().requires_grad_(False)
    return network


def _load_timm(
    config: dict[str, Any],
    preprocessing: Preprocessing,
    files: Iterable[Path],
    shapes: Shapes,
) -> Network:
    limit = _limit(shapes)
    build = partial(_build_timm, config, preprocessing)
    network = _built(build, limit=limit, device="meta")
    if network is not None:
        _compare(network.module, _renamed(shapes, network.module))
    network = _built(build, limit=limit, device="cpu")
    assert network is not None, "only the meta device lacks values"
    _compare(network.module, _renamed(shapes, network.module))
    names = network_names(shapes, network.module.state_dict())
    _fill(network.module, ((names[name], tensor) for name, tensor in _tensors(files, names)))
    return network


def _renamed(shapes: Shapes, module: nn.Module) -> Shapes:
    """``shapes`` by the names that the tensors have in ``module``."""
    names = network_names(shapes, module.state_dict())
    return {names[name]: shape for name, shape in shapes.items() if name in names}


def _load_transformers(config: dict[str, Any], files: Iterable[Path], shapes: Shapes) -> Network:
    """Of a larger network than a backbone needs, only the backbone's tensors count and are read."""
    known = known_backbone(first_architecture(config))
    needed = {name: shape for name, shape in shapes.items() if is_needed(name, known)}
    if not needed and known is not None:
        raise TeacherError(f"the weights have no tensor {known.prefix}*, which the backbone needs")
    limit = _limit(needed)
    build = partial(build_transformers, config)
    built: Built | None = _built(build, limit=limit, device="meta")
    if built is None:
        built = _built(build, limit=limit, device="cpu")
    assert built is not None, "only the meta device lacks values"
    names = {name: name for name in needed}
    if known is None:
        names = network_names(needed, built.module.state_dict())
    module = fill(built, ((names[name], tensor) for name, tensor in _tensors(files, names)))
    return Network(
        module,
        built.num_classes,
        "transformers",
        answers_of(built),
        built.encoder is not None and built.encoder.family.sees_padding,
    )


def _limit(shapes: Shapes) -> int:
    """The most scalars that a network of these tensors may have; checks the memory for them."""
    scalars = sum(math.prod(shape) for shape in shapes.values())
    _check_memory(scalars)
    return 2 * scalars + _SLACK


def _built(build: Callable[[], T], *, limit: int, device: str) -> T | None:
    """The network without weights, of at most ``limit`` scalars.

    ``None`` where its constructor computes with values, which the meta device does not have.
    """
    import torch

    try:
        with limit_parameters(limit), skip_weight_init(), torch.device(device):
            return build()
    except TeacherError:
        raise
    except Exception as error:
        if device == "meta" and (isinstance(error, NotImplementedError) or "meta" in str(error)):
            return None
        raise TeacherError(
            f"the network cannot be built from its config: {type(error).__name__}: {error}"
        ) from error


def _build_timm(config: dict[str, Any], preprocessing: Preprocessing) -> Network:
    import timm

    architecture = timm_name(str(config["architecture"])).architecture
    if not timm.is_model(architecture):
        raise TeacherError(f"timm {timm.__version__} has no architecture {architecture!r}")
    num_classes = class_count(config.get("num_classes"))
    overlay: dict[str, Any] = {"input_size": (3, *preprocessing.input_size)}
    fixed = timm_settings(config).get("fixed_input_size")
    if isinstance(fixed, bool):
        overlay["fixed_input_size"] = fixed
    arguments = _model_args(config.get("model_args"))
    arguments.pop("num_classes", None)  # timm's own exports say it twice
    if arguments.get("img_size") is not None:
        arguments["img_size"] = preprocessing.input_size
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
    settings = timm_settings(config)
    name = timm_name(str(config["architecture"]), settings.get("tag"))
    if not settings.get("label_names") and is_embedding(*name, num_classes):
        num_classes = 0  # the projection is built and filled, and not asked
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
    check_plain(arguments, "model_args", depth=4)
    return dict(arguments)


def _check_memory(scalars: int) -> None:
    """Raise ``TeacherError`` if ``scalars`` float32 weights need more than the available memory."""
    import psutil

    needed, available = 4 * scalars, psutil.virtual_memory().available
    if needed > available:
        raise TeacherError(
            f"{needed / 2**30:.1f} GiB of weights, {available / 2**30:.1f} GiB of memory are"
            " available"
        )


def _compare(module: nn.Module, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise ``TeacherError`` naming the first tensor that the config asks for and the weights lack,
    or the reverse.
    """
    tensors = module.state_dict(keep_vars=True)
    learned = {name: tensor for name, tensor in tensors.items() if not is_derived(name)}
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
    extra = [name for name in shapes if name not in learned and not is_derived(name)]
    if extra:
        raise TeacherError(
            f"tensor {extra[0]!r} of the weights has no place in the network ({len(extra)} such)"
        )


def _tensors(
    files: Iterable[Path], needed: Container[str] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """The stored tensors by name, those of ``needed`` where it is given.

    NaN or infinity in one is a ``TeacherError``.
    """
    from safetensors import SafetensorError, safe_open

    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    if needed is not None and name not in needed:
                        continue
                    tensor = file.get_tensor(name)
                    if tensor.is_floating_point():
                        _check_values(name, tensor.float())
                    yield name, tensor
        except (SafetensorError, OSError) as error:
            raise TeacherError(f"{path.name} is damaged: {error}") from error


def _check_values(name: str, values: Tensor) -> None:
    """Raise ``TeacherError`` where ``values`` are no weights that a network could work with."""
    import torch

    largest = float(values.abs().max()) if values.numel() else 0.0
    if not math.isfinite(largest) or not torch.isfinite(values).all():
        raise TeacherError(f"tensor {name!r} holds NaN or infinite values")
    if largest > _LARGEST_WEIGHT and name.endswith(("weight", "bias")):
        raise TeacherError(
            f"tensor {name!r} holds values up to {largest:.0e}, which lead to NaN or infinite ones:"
            " the weights overflowed in training, or are damaged"
        )


def _fill(module: nn.Module, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Copy ``tensors`` into a timm ``module``; half precision becomes float32."""
    import torch

    state = module.state_dict()
    with torch.no_grad():
        for name, tensor in tensors:
            if not is_derived(name):
                state[name].copy_(tensor)
