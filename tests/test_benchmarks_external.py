"""The external table's benchmark on a small table of its own making."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.truth import external
from zoo.errors import UserError


def oracles(root: Path, models: int = 24) -> Path:
    """Accuracy rises with size; two models lack a data set and fall out, food101 is dropped."""
    rng = np.random.default_rng(0)
    params = 10 ** rng.uniform(7.5, 8.5, models)
    names = [f"a/model-{i}" for i in range(models)]
    rows = [
        {
            "model": name,
            "finetuned_dataset": data,
            "test_accuracy": 0.1 * np.log10(size) + 0.001 * rng.random(),
        }
        for data in ("pets", "svhn", "dtd", "food101")
        for name, size in zip(names, params, strict=True)
        if data != "dtd" or name not in names[:2]
    ]
    (root / "oracles").mkdir()
    pd.DataFrame(rows).to_csv(root / "oracles" / "transfergraph_records.csv")
    pd.DataFrame(
        {
            "model": names,
            "architectures": "['ViTForImageClassification']",
            "model_type": "vit",
            "dataset": "imagenet",
            "#labels": 1000,
            "input_shape": 224,
            "number_of_parameters": params,
        }
    ).to_csv(root / "oracles" / "transfergraph_models.csv")
    return root


@pytest.mark.journey
def test_the_prior_finds_what_size_tells_and_chance_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_SHARED", str(oracles(tmp_path)))
    monkeypatch.setattr(external, "CHOICES", external.CHOICES[:2])
    monkeypatch.setattr(external, "FOLDS", 3)
    found = {record.name: record for record in external.run(tmp_path)}
    assert found["external.prior.regret5"].setting["models"] == 22
    assert found["external.prior.regret5"].setting["data_sets"] == ["dtd", "pets", "svhn"]
    assert (
        found["external.prior.weighted_tau"].value
        > 0.8
        > 0.5
        > found["external.random.weighted_tau"].value
    )
    assert found["external.prior.regret5"].value < 0.001


@pytest.mark.journey
def test_a_prediction_has_not_seen_its_model_or_its_data_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(external, "CHOICES", external.CHOICES[:1])
    results, models = external.read(oracles(tmp_path) / "oracles")
    before, _ = external.predictions(results, models)
    changed = results.copy()
    changed["pets"] = np.random.default_rng(1).permutation(changed["pets"])
    after, _ = external.predictions(changed, models)
    np.testing.assert_allclose(before["pets"], after["pets"])
    assert not np.allclose(before["svhn"], after["svhn"])


def test_no_table_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="TEACHER_ZOO_SHARED"):
        external.read(tmp_path)
