"""``python -m benchmarks.build.make_timm_sizes``: how large timm's pretrained models are, for the
catalogue's offline source.

Writes ``zoo/sources/timm_sizes.csv``: architecture, number of classes, scalars in the state dict
(as the Hub counts them, buffers included), width of the pooled features. Models are built on
torch's meta device: shapes only, no memory, no weights. About ten minutes on one core. Run it again
after an upgrade of timm: it adds what the table lacks.
"""

from __future__ import annotations

import csv
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from zoo.sources.timm import SIZES, sizes
from zoo.terminal.command import printable, run

COLUMNS = ("architecture", "num_classes", "params_total", "feature_dim")


def size(name: str) -> tuple[int, int]:
    """(scalars in the state dict, feature width) of the pretrained model ``name`` of timm."""
    import timm
    import torch

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        model = timm.create_model(name, pretrained=False)
    width = getattr(model, "head_hidden_size", None) or model.num_features
    return sum(tensor.numel() for tensor in model.state_dict().values()), int(width)


def make(out: Annotated[Path, typer.Option(help="The file to write.")] = SIZES) -> None:
    """Measure every pretrained model of timm without its weights, and write the table of sizes."""
    import timm
    from timm.models import get_pretrained_cfg

    rows = sizes(out) if out.exists() else {}
    with out.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not rows:
            writer.writerow(COLUMNS)
        for name in timm.list_pretrained():
            key = (name.split(".")[0], int(get_pretrained_cfg(name).num_classes))
            if key in rows:
                continue
            try:
                rows[key] = size(name)
            except (
                RuntimeError,
                NotImplementedError,
                TypeError,
                ValueError,
                AttributeError,
            ) as error:
                print(f"left out: {name}: {printable(error, 200)}", file=sys.stderr)
                continue
            writer.writerow((*key, *rows[key]))
            file.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(make, argv, name="benchmarks.build.make_timm_sizes")


if __name__ == "__main__":
    raise SystemExit(main())
