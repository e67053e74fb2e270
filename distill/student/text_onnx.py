"""The student of texts as ONNX, in float32 and in 8 bits, with its tokenizer in the metadata."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from distill.student.onnx import FLOAT, INT8, Int8Student, require_same
from distill.student.student import exported_config
from distill.student.text_student import reopen
from zoo.errors import UserError
from zoo.files import replacing

if TYPE_CHECKING:
    from distill.data.samples import Samples

_BATCH = 32
Inputs = dict[str, npt.NDArray[np.int64]]


class _TwoInputs(nn.Module):
    """Tokens and mask as two inputs, as programs for transformers pass them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.network(torch.stack([input_ids, attention_mask], dim=1))
        return logits


def write_onnx(student: Path) -> Path:
    """Write ``model.onnx`` into the folder of the exported ``student``.

    Inputs ``input_ids`` and ``attention_mask`` (batch, tokens) int64, output ``logits`` (batch, C).
    The metadata holds ``label_names`` (JSON, in the order of the logits), ``tokenizer``
    (``tokenizer.json`` itself), ``max_length`` and ``padding``. Checked against the network where
    onnxruntime is installed. Raises ``UserError`` where it cannot be exported, ``Unavailable``
    where its logits differ.
    """
    opened = reopen(student)
    network = _TwoInputs(opened.network).eval()
    length = opened.example.shape[-1]
    sample = _sample(min(length, 11))
    path = student / FLOAT
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", max=length)
    try:
        with replacing(path) as partial, warnings.catch_warnings():
            # both inputs have one number of texts and of tokens, which is meant
            warnings.filterwarnings("ignore", message="# The axis name")
            torch.onnx.export(
                network,
                sample,
                str(partial),
                input_names=["input_ids", "attention_mask"],
                output_names=["logits"],
                dynamic_shapes=({0: batch, 1: tokens}, {0: batch, 1: tokens}),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            _add_metadata(partial, student)
            if find_spec("onnxruntime") is not None:
                other = _sample(min(length, 7))
                with torch.no_grad():
                    expected = network(*other).numpy()
                inputs = {"input_ids": other[0].numpy(), "attention_mask": other[1].numpy()}
                require_same(_logits(partial, [inputs]), expected)
    except torch.onnx.errors.OnnxExporterError as error:
        raise UserError(
            f"--onnx: {error}; install the extra: pip install 'teacher-zoo[onnx]'"
        ) from error
    return path


def _sample(length: int) -> tuple[Tensor, Tensor]:
    """Two texts, the second of them shorter."""
    mask = torch.ones(2, length, dtype=torch.int64)
    mask[1, length // 2 :] = 0
    return torch.arange(length).expand(2, -1).contiguous() % 5, mask


def write_int8(student: Path, training: Samples, test: Samples) -> Int8Student:
    """Write ``model.int8.onnx``: the matrices in 8 bits, activations quantised as they come.

    That is onnxruntime's dynamic quantisation, the usual one for transformers, so ``training`` is
    not read. Both files are evaluated on ``test``.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    floats = student / FLOAT if (student / FLOAT).exists() else write_onnx(student)
    path = student / INT8
    with TemporaryDirectory() as scratch, replacing(path) as partial:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(floats), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(str(prepared), str(partial), weight_type=QuantType.QInt8)
        _add_metadata(partial, student)
    padding = int(exported_config(student).get("pad_token_id") or 0)
    return Int8Student(path, _accuracy(path, test, padding), _accuracy(floats, test, padding))


def _logits(path: Path, batches: list[Inputs] | Iterator[Inputs]) -> npt.NDArray[np.float32]:
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, inputs)[0] for inputs in batches])


def _accuracy(path: Path, samples: Samples, padding: int) -> float:
    logits = _logits(path, _inputs(samples, padding))
    return float((logits.argmax(1) == samples.labels[samples.usable]).mean())


def _inputs(samples: Samples, padding: int) -> Iterator[Inputs]:
    """The texts of ``samples`` as the network takes them, at most 32 at a time."""
    for chunk in samples.chunks(samples.usable):
        for rows in chunk.split(_BATCH):
            tokens = rows[:, : int((rows > 0).sum(dim=1).max())].long()
            mask = tokens > 0
            ids = torch.where(mask, tokens - 1, padding)
            yield {"input_ids": ids.numpy(), "attention_mask": mask.long().numpy()}


def _add_metadata(path: Path, student: Path) -> None:
    """Write what a program must know into the file itself."""
    import onnx

    config = exported_config(student)
    settings = json.loads((student / "tokenizer_config.json").read_text(encoding="utf-8"))
    names = config["id2label"]
    facts = {
        "architecture": str(config["model_type"]),
        "label_names": json.dumps(
            [names[str(number)] for number in range(len(names))], ensure_ascii=False
        ),
        "tokenizer": (student / "tokenizer.json").read_text(encoding="utf-8"),
        "max_length": str(settings["model_max_length"]),
        "padding": str(config.get("pad_token_id") or 0),
    }
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, str(path))
