"""Model files that are no safetensors: which they are, in the words of those who save them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PICKLE = "loading a pickle can run any code, so it is never done"
_PICKLES = (
    *(".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pickle", ".joblib", ".pdparams", ".t7"),
    *(".pth.tar", ".pt.tar", ".ckpt.tar"),
)
_OTHERS = {
    ".h5": "Keras",
    ".hdf5": "Keras",
    ".keras": "Keras",
    ".pb": "TensorFlow",
    ".tflite": "TensorFlow Lite",
    ".msgpack": "Flax",
    ".onnx": "ONNX",
    ".gguf": "GGUF",
    ".ggml": "GGML",
    ".mlmodel": "Core ML",
    ".mlpackage": "Core ML",
    ".engine": "TensorRT",
    ".pte": "ExecuTorch",
    ".distcp": "a distributed checkpoint of PyTorch",
}
_OPENVINO = "openvino_model.xml"
_TENSORFLOW_PARTS = re.compile(r".*\.ckpt(-\d+)?\.(index|meta|data-\d+-of-\d+)")
_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_config.json")
_OPEN_CLIP = ("open_clip_config.json", "open_clip_model.safetensors")
_PIPELINE = "model_index.json"
_SHARD = re.compile(r".+-\d{5}-of-\d{5}\.safetensors")
# what a trainer keeps beside the weights
_STATE = re.compile(
    r"(training_args|optimizer|scheduler|rng_state(_\d+)?|random_states_\d+|scaler|trainer_state)"
    r"\.(bin|pt|pth|pkl)"
)


def is_model_file(name: str) -> bool:
    """Whether a file of that name in a folder makes it a model's, of whatever library."""
    if _STATE.fullmatch(name):
        return False
    if name in (*_ADAPTERS, *_OPEN_CLIP, _PIPELINE, _OPENVINO):
        return True
    return name.endswith((".safetensors", *_PICKLES, *_OTHERS)) or bool(
        _TENSORFLOW_PARTS.fullmatch(name)
    )


def foreign_model(names: Iterable[str]) -> str | None:
    """Why a folder with files of these names is no model of timm or transformers, if it is plainly
    another library's.
    """
    present = set(names)
    for name in _ADAPTERS:
        if name in present:
            return (
                f"only an adapter ({name}): merge it into its base model (PEFT's"
                " merge_and_unload) and save that"
            )
    for name in _OPEN_CLIP:
        if name in present:
            return f"an OpenCLIP model ({name}): use its timm or transformers form"
    if _PIPELINE in present:
        return f"a diffusers pipeline ({_PIPELINE}), no single network"
    return None


def missing_weights(names: Iterable[str]) -> str:
    """Why a folder with files of these names has no weights that are loaded: what is there
    instead.
    """
    present = sorted(name for name in names if not _STATE.fullmatch(name))
    foreign = foreign_model(present)
    if foreign:
        return foreign
    for name in present:
        if name.endswith(_PICKLES) and not _TENSORFLOW_PARTS.fullmatch(name):
            lightning = " (Lightning saves so)" if name.endswith(".ckpt") else ""
            return f"no safetensors, only {name}{lightning}: {_PICKLE}"
    shards = [name for name in present if _SHARD.fullmatch(name)]
    if shards:
        return f"no model.safetensors.index.json beside the shards {shards[0]} ..."
    others = [name for name in present if name.endswith(".safetensors")]
    if others:
        return (
            f"no model.safetensors, only {others[0]}: rename it if it holds the weights of this"
            " config.json"
        )
    for name in present:
        kind = _library(name)
        if kind:
            return f"no safetensors, only {name} ({kind}): save the model as safetensors"
    return "no model.safetensors and no other weights"


def _library(name: str) -> str | None:
    """The library or format that weights of that name are of."""
    if _TENSORFLOW_PARTS.fullmatch(name):
        return "TensorFlow"
    if name == _OPENVINO:
        return "OpenVINO"
    return next((kind for suffix, kind in _OTHERS.items() if name.endswith(suffix)), None)
