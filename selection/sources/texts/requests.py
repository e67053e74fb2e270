"""The built-in task ``requests``: short requests to a voice assistant at home.

Twelve of the 150 intents of CLINC150 (Larson et al., "An Evaluation Dataset for Intent
Classification and Out-of-Scope Prediction", EMNLP 2019; https://github.com/clinc/oos-eval, CC BY
3.0), in its own splits; of the 100 training texts of a class 10 have their label.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from selection.kinds.kind import TaskContent
from selection.sources.split import Part
from selection.sources.texts.source import TextSource

FILE = Path(__file__).with_suffix(".csv")
POOL = "unlabelled"


def requests() -> TaskContent:
    """The 717 labelled texts in three splits, and 1,069 without labels."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = [(row["split"], row["text"], row["label"]) for row in csv.DictReader(file)]
    classes = tuple(sorted({label for *_, label in rows if label}))
    parts = {}
    for split in dict.fromkeys(split for split, *_ in rows if split != POOL):
        texts = [text for name, text, _ in rows if name == split]
        labels = [classes.index(label) for name, _, label in rows if name == split]
        parts[split] = Part(TextSource(texts, split), np.asarray(labels, np.int64), classes)
    pool = [text for split, text, _ in rows if split == POOL]
    return TaskContent(parts, [TextSource(pool, POOL)])
