"""The student of ratings as ONNX."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import torch

from distill.student.onnx import FLOAT, require_same
from distill.student.recommender import reopen
from zoo.errors import UserError
from zoo.files import replacing


def write_onnx(student: Path) -> Path:
    """Write ``model.onnx`` into the folder of the exported ``student``.

    Input ``pairs`` (batch, 2) int64, the places of user and item; outputs ``logits`` (batch, C).
    The metadata holds ``label_names`` and ``values`` (JSON). Checked against the network where
    onnxruntime is installed. Raises ``UserError`` where it cannot be exported.
    """
    opened, path = reopen(student), student / FLOAT
    users, items = int(opened.config["users"]), int(opened.config["items"])
    sample = torch.tensor([[0, 0], [users - 1, items - 1], [users // 2, items // 2]])
    try:
        with replacing(path) as partial:
            torch.onnx.export(
                opened.network,
                (sample,),
                str(partial),
                input_names=["pairs"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            _add_metadata(partial, opened.classes, opened.config["values"])
            if find_spec("onnxruntime") is not None:
                import onnxruntime

                session = onnxruntime.InferenceSession(str(partial))
                found = session.run(None, {"pairs": sample.numpy()})[0]
                with torch.no_grad():
                    require_same(found, opened.network(sample).numpy())
    except (torch.onnx.errors.OnnxExporterError, ImportError) as error:
        raise UserError(
            f"--onnx: {error}; install the extra: pip install 'teacher-zoo[onnx]'"
        ) from error
    return path


def _add_metadata(path: Path, classes: tuple[str, ...], values: list[float]) -> None:
    import onnx

    model = onnx.load(str(path))
    facts = {"label_names": json.dumps(list(classes)), "values": json.dumps(values)}
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, str(path))


def write_int8(student: Path, training: object, test: object) -> None:
    """Always ``UserError``: two tables of vectors are small and need no calibration."""
    raise UserError(
        "--int8 is for networks of images and texts; a student of ratings is two tables of vectors:"
        " a smaller --student, such as towers-16, is smaller"
    )
