"""The student of images as ONNX, in float32 and in 8 bits; names and preprocessing lie in its
metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zoo.errors import Unavailable, UserError
from zoo.files import replacing

if TYPE_CHECKING:
    from distill.data.samples import Samples

FLOAT, INT8 = "model.onnx", "model.int8.onnx"
CALIBRATION_IMAGES = 256  # of the training split, which give the ranges of the activations
_BATCH = 32
_TOLERANCE = 1e-3  # of logits, absolute and relative

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Int8Student:
    """The file of the 8-bit student, and the shares of images that both are right on."""

    path: Path
    accuracy: float
    float_accuracy: float


def write_onnx(student: Path) -> Path:
    """Write ``model.onnx`` into the folder of the exported ``student``.

    Input ``pixels`` (batch, 3, s, s) normalised, output ``logits`` (batch, C). The metadata holds
    what a program needs to use it: ``label_names`` (JSON, in the order of the logits),
    ``preprocessing`` (JSON: input size, mean, standard deviation, interpolation, crop) and
    ``architecture``. Checked against the network on random input where onnxruntime is installed.
    Raises ``UserError`` where it cannot be exported, ``Unavailable`` where its logits differ.
    """
    import torch

    from distill.student.image_student import reopen

    opened = reopen(student)
    network, config = opened.network, opened.config
    size = config["pretrained_cfg"]["input_size"][1]
    sample = torch.rand(
        2,
        3,
        size,
        size,
        generator=torch.Generator().manual_seed(0),
    )
    path = student / FLOAT
    try:
        with replacing(path) as partial:
            torch.onnx.export(
                network,
                (sample,),
                str(partial),
                input_names=["pixels"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            _add_metadata(partial, config)
            if find_spec("onnxruntime") is not None:
                with torch.no_grad():
                    expected = network(sample).numpy()
                require_same(_logits(partial, sample.numpy()), expected)
    except torch.onnx.errors.OnnxExporterError as error:
        raise UserError(
            f"--onnx: {error}; install the extra: pip install 'teacher-zoo[onnx]'"
        ) from error
    return path


def write_int8(student: Path, training: Samples, test: Samples) -> Int8Student:
    """Write ``model.int8.onnx``: weights and activations in 8 bits, for small processors.

    Weights are quantised by output channel; the ranges of the activations are those on
    ``CALIBRATION_IMAGES`` images of ``training`` (static quantisation of onnxruntime). Both files
    are evaluated on ``test`` by onnxruntime. The float file is written where it is missing.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    floats = student / FLOAT if (student / FLOAT).exists() else write_onnx(student)
    config = json.loads((student / "config.json").read_text(encoding="utf-8"))
    places = np.linspace(0, len(training.usable) - 1, CALIBRATION_IMAGES)
    rows = training.usable[np.unique(places.astype(int))]  # spread over all classes
    path = student / INT8
    with TemporaryDirectory() as scratch, replacing(path) as partial:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(floats), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(partial),
            _CalibrationBatches(_inputs(training, rows, config)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        _add_metadata(partial, config)
    return Int8Student(path, _accuracy(path, test, config), _accuracy(floats, test, config))


class _CalibrationBatches:
    """Batches as onnxruntime asks for them."""

    def __init__(self, batches: Iterator[Floats]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, Floats] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"pixels": batch}


def _inputs(samples: Samples, rows: npt.NDArray[np.int64], config: Any) -> Iterator[Floats]:
    """The images ``rows`` as the network takes them: (at most 32, 3, s, s), normalised."""
    from torch.nn.functional import interpolate

    cfg = config["pretrained_cfg"]
    size = cfg["input_size"][1]
    mean, std = (np.asarray(cfg[name], np.float32).reshape(3, 1, 1) for name in ("mean", "std"))
    for chunk in samples.chunks(rows):
        for images in chunk.split(_BATCH):
            views = images.float()
            if views.shape[-1] != size:  # training images are stored larger
                views = interpolate(
                    views,
                    (size, size),
                    mode="bilinear",
                    antialias=True,
                )
            yield ((views.numpy() / np.float32(255) - mean) / std).astype(np.float32)


def _logits(path: Path, inputs: Floats) -> Floats:
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits: Floats = session.run(None, {"pixels": inputs})[0]
    return logits


def _accuracy(path: Path, samples: Samples, config: Any) -> float:
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    predicted = [
        session.run(None, {"pixels": batch})[0].argmax(1)
        for batch in _inputs(samples, samples.usable, config)
    ]
    return float((np.concatenate(predicted) == samples.labels[samples.usable]).mean())


def require_same(logits: Floats, expected: Floats) -> None:
    """Raise ``Unavailable`` where the ``logits`` of a file are not the student's ``expected``."""
    if not np.allclose(logits, expected, atol=_TOLERANCE, rtol=_TOLERANCE):
        off = float(np.abs(logits - expected).max())
        raise Unavailable(
            f"the logits of the ONNX student differ from the student's (by {off:.2g})"
        )


def _add_metadata(path: Path, config: Any) -> None:
    """Write what a program must know into the file itself."""
    import onnx

    cfg = config["pretrained_cfg"]
    preprocessing = {
        name: cfg[name]
        for name in ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
    }
    facts = {
        "architecture": config["architecture"],
        "label_names": json.dumps(config["label_names"], ensure_ascii=False),
        "preprocessing": json.dumps(preprocessing | {"pixel_range": [0, 1], "colour": "RGB"}),
    }
    if "grey_scale" in config:
        facts["grey_scale"] = json.dumps(config["grey_scale"])
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, str(path))
