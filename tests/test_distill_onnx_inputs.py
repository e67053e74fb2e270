"""What an exported student is fed and how its logits are compared; needs no ONNX."""

from __future__ import annotations

import numpy as np
import pytest

from distill.student.onnx import _CalibrationBatches, _inputs, require_same
from tests.distill_setting import pixels
from zoo.errors import Unavailable


def config(size: int) -> dict[str, dict[str, object]]:
    cfg = {"input_size": [3, size, size], "mean": [0.5, 0.25, 0.0], "std": [0.5, 0.25, 1.0]}
    return {"pretrained_cfg": cfg}


def test_images_are_fed_in_batches_of_32_normalised() -> None:
    data = pixels(40)
    rows = np.arange(40)[::-1].copy()
    batches = list(_inputs(data, rows, config(16)))
    assert [len(batch) for batch in batches] == [32, 8]
    fed = np.concatenate(batches)
    assert fed.dtype == np.float32
    mean, std = (np.reshape(values, (3, 1, 1)) for values in ([0.5, 0.25, 0.0], [0.5, 0.25, 1.0]))
    assert fed == pytest.approx((data.inputs[rows] / 255 - mean) / std, abs=1e-5)


def test_images_that_are_stored_larger_are_made_smaller() -> None:
    data = pixels(3)
    (batch,) = _inputs(data, np.arange(3), config(8))
    assert batch.shape == (3, 3, 8, 8)
    blocks = data.inputs.reshape(3, 3, 8, 2, 8, 2).mean(axis=(3, 5)) / 255
    assert np.corrcoef(batch[:, 2].ravel(), blocks[:, 2].ravel())[0, 1] > 0.95


def test_logits_may_differ_by_rounding_alone() -> None:
    logits = np.array([[0.0, 10.0]], dtype=np.float32)
    require_same(logits + np.float32([[0.0009, 0.010]]), logits)
    for wrong in ([[0.0012, 0.0]], [[0.0, 0.02]]):
        with pytest.raises(Unavailable, match="differ from the student's"):
            require_same(logits + np.float32(wrong), logits)


def test_calibration_ends_with_its_batches() -> None:
    reader = _CalibrationBatches(iter([np.ones(2, np.float32)]))
    first = reader.get_next()
    assert first is not None and first["pixels"].tolist() == [1, 1]
    assert reader.get_next() is None
