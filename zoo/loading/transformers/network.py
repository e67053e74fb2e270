"""Networks of transformers: built from a stranger's config, filled, and what they answer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.errors import TeacherError
from zoo.loading.backbones import Backbone, first_architecture, known_backbone, obstacle
from zoo.loading.construction import check_plain, class_count, is_derived
from zoo.loading.transformers.answers import answers, answers_by_length
from zoo.loading.transformers.families import Encoder, encoder

if TYPE_CHECKING:
    from torch import Tensor, nn

    Answers = Callable[[Any, Tensor], tuple[Tensor, Tensor | None]]

# what files of text classifiers keep of the network that they were trained from
_OTHER_HEADS = {"pooler", "cls", "lm_head", "lm_predictions", "vocab_projector", "predictions"}


class Built(NamedTuple):
    """A network of transformers; ``backbone`` is None for a classifier, whose head then counts.

    ``num_classes`` is 0 for a backbone. ``encoder`` is None unless it is a network of texts.
    """

    module: Any
    num_classes: int
    backbone: Backbone | None
    encoder: Encoder | None = None


def build(config: dict[str, Any]) -> Built:
    """The network that a transformers ``config.json`` describes, without its weights.

    Only classes of the installed transformers that are known here are built; code that the model
    brings is never run. ``TeacherError`` says why another one is refused.
    """
    import transformers

    if "auto_map" in config:
        raise TeacherError("the model brings its own code (auto_map), which is never run")
    name = first_architecture(config)
    reason = obstacle(config, name)
    if reason:
        raise TeacherError(reason)
    known = known_backbone(name)
    declared = _class_named(name)
    if config.get("model_type") != declared.config_class.model_type:
        raise TeacherError(f"model_type {config.get('model_type')!r} is not that of {name}")
    part = config.get(known.part) if known and known.part else config
    if not isinstance(part, dict):
        raise TeacherError(f"config.json has no {known.part if known else 'config'}")
    plain = _without_loaders(part)
    check_plain(
        {key: value for key, value in plain.items() if key not in ("id2label", "label2id")},
        "config",
        depth=6,
    )
    plain.pop("model_type", None)
    if known is None:
        settings = transformers.AutoConfig.for_model(
            config["model_type"], attn_implementation="eager", **plain
        )
        if type(settings) is not declared.config_class:
            raise TeacherError(f"model_type {config['model_type']!r} is not that of {name}")
        return Built(declared(settings), class_count(settings.num_labels), None, encoder(name))
    for key in ("id2label", "label2id", "num_labels"):  # left behind by a head that is not there
        plain.pop(key, None)
    family = _class_named(known.built)
    settings = family.config_class(attn_implementation="eager", **plain)
    if hasattr(settings, "mask_ratio"):
        settings.mask_ratio = 0.0  # a masked autoencoder sees the whole image
    return Built(family(settings, **_arguments(known)), 0, known, encoder(name))


def _class_named(name: str | None) -> Any:
    import transformers

    family = getattr(transformers, name or "", None)
    if not isinstance(family, type) or not issubclass(family, transformers.PreTrainedModel):
        raise TeacherError(f"transformers {transformers.__version__} has no {name}")
    return family


def _arguments(known: Backbone | None) -> dict[str, bool]:
    """What the constructor is told beside the config."""
    if known is None or known.pooler is None:
        return {}
    return {"add_pooling_layer": known.pooler}


def _without_loaders(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` less the keys through which it could fetch code, kernels or other weights."""
    drop = re.compile(
        r"_.*|.*(attn|experts)_implementation|quantization_config|(torch_)?dtype|.*backbone.*|.*kernel_?config.*"
        r"|architectures|transformers_version|use_timm.*|trust_remote_code|name_or_path|finetuning_task|task_specific_params"
    )
    return {
        key: _without_loaders(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if not drop.fullmatch(str(key))
    }


def is_needed(name: str, known: Backbone | None) -> bool:
    """Whether the tensor ``name`` of the file belongs to the network, as far as its name tells."""
    return known is None or name.startswith(known.prefix)


def fill(built: Built, tensors: Iterable[tuple[str, Tensor]]) -> nn.Module:
    """``built.module`` (it may be on the meta device) again, with ``tensors`` in it, as float32.

    Its own loader is used, since tensors of older files are called differently; it gets nothing but
    our tensors. ``TeacherError`` names a tensor that is missing, or that has another shape, or, of
    a classifier, that has no place; a backbone's file may hold more than is needed.
    """
    import torch

    module = built.module
    names = dict(_renamed(tensors, built))
    with _silent():
        try:
            loaded, report = type(module).from_pretrained(
                None,
                config=module.config,
                state_dict=names,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                attn_implementation="eager",
                **_arguments(built.backbone),
            )
        except Exception as error:
            raise TeacherError(
                f"the weights cannot be loaded: {type(error).__name__}: {error}"
            ) from error
    faults = {
        "mismatched_keys": "has another shape than the config asks for",
        "missing_keys": "is missing from the weights",
        "unexpected_keys": "has no place in the network",
    }
    constant = built.backbone.constant if built.backbone else ()
    for kind, fault in faults.items():
        keys = sorted(key if isinstance(key, str) else key[0] for key in report[kind])
        faulty = [key for key in keys if not is_derived(key) and not key.endswith("mask_token")]
        if kind == "missing_keys":
            faulty = [key for key in faulty if key not in constant]
        if kind == "unexpected_keys":
            faulty = [key for key in faulty if not _may_be_left(key, built)]
        if faulty:
            raise TeacherError(f"tensor {faulty[0]!r} {fault} ({len(faulty)} such)")
    network: nn.Module = loaded
    with torch.no_grad():
        for key in set(constant) & set(report["missing_keys"]):
            network.get_parameter(key).fill_(key.endswith("weight"))
    return network


def _may_be_left(name: str, built: Built) -> bool:
    """Whether a tensor that has no place in the network may be in the file: those of another head.

    Of an encoder of texts whatever lies in a part that the network has must have a place in it.
    """
    if built.encoder is None:
        return built.backbone is not None
    parts = name.removeprefix(f"{built.module.base_model_prefix}.").split(".")
    if built.encoder.has_head:
        return bool(_OTHER_HEADS & set(parts[:2]))
    return parts[0] not in dict(built.module.named_children())


def _renamed(tensors: Iterable[tuple[str, Tensor]], built: Built) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a backbone needs, by the names that they have in it."""
    known = built.backbone
    if known is None:
        yield from tensors
        return
    tower, own = "vision_model.", built.module.state_dict()
    is_nested = any(name.startswith(tower) for name in own)
    for name, tensor in tensors:
        name = name.removeprefix(known.prefix)
        if tower in (known.prefix, name[: len(tower)]):
            name = (tower if is_nested else "") + name.removeprefix(tower)
        layers = name.replace(".layer.", ".layers.")  # AltCLIP's rule for its text tower
        yield layers if layers in own else name, tensor


class _silent:
    """A context in which transformers neither logs nor draws progress bars."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._level, self._bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()

    def __exit__(self, *_error: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self._level)
        if self._bars:
            logging.enable_progress_bar()


# --- what it answers


def head_inputs(module: Any, inputs: Tensor, heads: Sequence[nn.Module]) -> tuple[Tensor, Tensor]:
    """What the ``heads`` of a classifier see of (B, 3, H, W) images, averaged, and the logits."""
    import torch

    seen: list[Tensor] = []
    hooks = [
        head.register_forward_pre_hook(lambda _layer, arguments: seen.append(arguments[0]))
        for head in heads
    ]
    try:
        output = run(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    seen = seen[-len(hooks) :]
    features = seen[0] if len(seen) == 1 else torch.stack(seen).mean(0)
    # PP-LCNet calls its logits a hidden state
    logits: Tensor = output.logits if "logits" in output else output.last_hidden_state
    return features, logits


def run(module: Any, inputs: Tensor) -> Any:
    """The output of ``module`` for (B, 3, H, W) normalised images.

    Where they have another size than the network was trained with, its position embeddings are
    interpolated if it knows how.
    """
    import torch

    vision = getattr(module.config, "vision_config", module.config)
    if str(vision.model_type).startswith("siglip2"):  # it takes patches, of images of any size
        patches, grid = _flat_patches(inputs, vision.patch_size)
        mask = torch.ones(patches.shape[:2], device=inputs.device)
        return module(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=grid)
    size = getattr(vision, "image_size", None)
    trained = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    parameters = inspect.signature(module.forward).parameters
    if size and trained != tuple(inputs.shape[-2:]) and "interpolate_pos_encoding" in parameters:
        return module(pixel_values=inputs, interpolate_pos_encoding=True)
    return module(pixel_values=inputs)


def answers_of(built: Built) -> Answers | None:
    """The function ``(module, batch) -> (features, logits or None)``; None for an image classifier,
    whose features are what its head sees.
    """
    if built.encoder is not None:
        return answers_by_length if built.encoder.family.sees_padding else answers
    known = built.backbone
    if known is None:
        return None
    masks, pooling = known.built == "ViTMAEModel", known.pooling

    def pooled(module: Any, inputs: Tensor) -> tuple[Tensor, None]:
        outputs = _run_unmasked(module, inputs) if masks else run(module, inputs)
        return _pool(outputs, module.config, pooling), None

    return pooled


def _run_unmasked(module: Any, inputs: Tensor) -> Any:
    """The output of a masked autoencoder, which keeps the patches that have the least noise.

    Its ``mask_ratio`` is 0, so it keeps all; noise that rises keeps their order, too.
    """
    import torch

    patches = module.embeddings.patch_embeddings.num_patches
    noise = torch.arange(patches, device=inputs.device, dtype=torch.float32)
    return module(pixel_values=inputs, noise=noise.expand(len(inputs), -1))


def _flat_patches(inputs: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) as patches (B, n, size * size * 3), channels last, and their grid (B, 2)."""
    import torch

    height, width = inputs.shape[-2] // size, inputs.shape[-1] // size
    blocks = inputs[..., : height * size, : width * size]
    blocks = blocks.unflatten(3, (width, size)).unflatten(2, (height, size))  # (B, 3, h, s, w, s)
    patches = (
        blocks.permute(
            0,
            2,
            4,
            3,
            5,
            1,
        )
        .flatten(3)
        .flatten(1, 2)
    )
    grid = torch.tensor([[height, width]] * len(inputs), device=inputs.device)
    return patches, grid


def _pool(outputs: Any, config: Any, pooling: str) -> Tensor:
    """(B, D) from what a backbone answers; ``pooling`` is a key of ``backbones.POOLINGS``."""
    import torch

    features: Tensor
    if pooling == "summary":
        features = outputs.summary
        return features
    hidden = outputs.last_hidden_state  # (B, n, D), or (B, D, h, w)
    if pooling == "cls of the last stage":
        token = outputs.cls_token_value
        return _mean(hidden) if token is None else _mean(token)
    if pooling == "cls":
        features = hidden[:, 0]
    elif pooling == "patches":
        features = hidden[:, 1:].mean(1)
    elif pooling == "cls and patches":
        first = 1 + getattr(config, "num_register_tokens", 0)
        features = torch.cat([hidden[:, 0], hidden[:, first:].mean(1)], dim=1)
    elif pooling == "pooler" and outputs.pooler_output is not None:
        features = outputs.pooler_output.flatten(1)
    else:
        features = _mean(hidden)
    return features


def _mean(hidden: Tensor) -> Tensor:
    """(B, D) from tokens (B, n, D) or a map (B, D, h, w)."""
    return hidden.mean(1) if hidden.ndim == 3 else hidden.flatten(2).mean(2)
