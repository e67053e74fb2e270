"""From a task to a student that timm opens, in Python.

python examples/train_a_student.py [TASK]      # default: digits; a few minutes on two cores
"""

from __future__ import annotations

import sys
from pathlib import Path

import timm
import torch

from distill.options import TrainOptions
from distill.train import train_student
from selection.rank import Settings, rank

FOLDER = Path("example_run")


def main(task: str = "digits", epochs: int = 4) -> None:
    """Rank, train with a plain control, and open the student without this package."""
    FOLDER.mkdir(exist_ok=True)
    rank(task, Settings(top=2)).save(FOLDER / "ranking.json")
    train_student(
        TrainOptions(
            task=task,
            ranking=str(FOLDER / "ranking.json"),
            student="test_resnet",
            epochs=epochs,
            out=FOLDER / "run",
        )
    )
    student = timm.create_model(f"local-dir:{FOLDER / 'run' / 'student'}", pretrained=True).eval()
    size = student.pretrained_cfg["input_size"]
    with torch.no_grad():
        print("logits of a black image:", student(torch.zeros(1, *size)).shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
