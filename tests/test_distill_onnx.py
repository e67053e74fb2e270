"""The student as ONNX: the same logits, what a program must know, and 8 bits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.student.image_student import export
from distill.student.onnx import FLOAT, INT8, write_int8, write_onnx
from tests.distill_setting import CLASSES, enlarged, pixels, student

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A student whose last layer tells the channels apart, as a trained one would."""
    data, pupil = pixels(60), student()
    with torch.no_grad():
        features = pupil.eval()(enlarged(data.inputs).float() / 255).features
        classifier = pupil.network.get_classifier()
        target = torch.nn.functional.one_hot(torch.from_numpy(data.labels), 3).float()
        weights = torch.linalg.lstsq(features - features.mean(0), target - 1 / 3).solution
        classifier.weight.copy_(10 * weights.T)
        classifier.bias.copy_(-10 * (features.mean(0) @ weights))
    export(pupil, tmp_path)
    return tmp_path


@pytest.mark.journey
def test_names_and_preprocessing_stand_in_the_file(folder: Path) -> None:
    path = write_onnx(folder)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["label_names"]) == list(CLASSES)
    assert facts["architecture"] == "test_efficientnet"
    preprocessing = json.loads(facts["preprocessing"])
    assert preprocessing["input_size"] == [3, 32, 32]
    assert (preprocessing["interpolation"], preprocessing["crop_pct"]) == ("bilinear", 1.0)
    assert preprocessing["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", FLOAT, "model.safetensors"]


@pytest.mark.journey
def test_the_file_alone_gives_the_students_answers(folder: Path) -> None:
    """From its metadata and NumPy, without this package's transforms."""
    from distill.student.image_student import reopen

    session = runtime.InferenceSession(str(write_onnx(folder)), providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"])
    views = enlarged(pixels(9, seed=1).inputs).numpy() / np.float32(255)
    mean, std = (np.float32(facts[name]).reshape(3, 1, 1) for name in ("mean", "std"))
    logits = session.run(None, {"pixels": ((views - mean) / std).astype(np.float32)})[0]
    network = reopen(folder).network
    with torch.no_grad():
        expected = network(torch.from_numpy((views - mean) / std).float()).numpy()
    assert logits == pytest.approx(expected, abs=1e-3)


@pytest.mark.journey
def test_eight_bits_are_smaller_and_nearly_as_accurate(folder: Path) -> None:
    student = write_int8(folder, pixels(60), pixels(60))
    assert student.path == folder / INT8
    assert student.path.stat().st_size < 0.6 * (folder / FLOAT).stat().st_size
    assert student.float_accuracy > 0.9  # the setting: the student tells the classes apart
    assert student.accuracy > student.float_accuracy - 0.1
    session = runtime.InferenceSession(str(student.path), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["label_names"]) == list(CLASSES)
    inputs = np.zeros((1, 3, 32, 32), np.float32)
    assert session.run(None, {"pixels": inputs})[0].shape == (1, 3)
