"""The ``config.json`` of a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from distill.experiment import Experiment
from distill.options import Options, to_json
from selection.ranking import versions
from zoo.card import ModelCard

CARD = (  # what a run keeps of its teachers' cards
    "id",
    "source",
    "location",
    "sha",
    "license",
    "labels",
    "architecture",
    "input_size",
    "num_classes",
    "feature_dim",
)
CARD_OF_TEXTS = ("modality", "max_length")  # kept where they are known, as earlier versions did not


def to_config(options: Options, experiment: Experiment) -> dict[str, Any]:
    """What ``config.json`` says of a run."""
    task, training = experiment.task, experiment.training
    resolved = {
        "epochs": training.schedule.epochs,
        "rate": training.schedule.rate,
        "views": training.views,
        **experiment.kind.resolved(training.student, training.augmentation),
        "kind": task.kind.name,
        "image_column": task.columns.image,
        "text_column": task.columns.text,
        "label_column": task.columns.label,
        "class_balance": training.class_balance or "none",
    }  # so that another machine's defaults do not change a resumed run
    return {
        "options": to_json(options) | resolved,
        "method": options.method,
        "kind": experiment.kind.name,
        "seed": options.seed,
        "plan": asdict(training),  # the name that run folders have had from the beginning
        "classes": list(task.classes),
        "task": {
            "name": task.name,
            "digest": task.digest,
            "split_seed": task.split_seed,
            "revision": task.revision,
            "labelled": len(task.train),
            "unlabelled": len(task.unlabelled) if task.unlabelled is not None else 0,
        },
        "teachers": [_kept(card) for card in experiment.committee.cards],
        "versions": versions(),
    }


def _kept(card: ModelCard) -> dict[str, Any]:
    kept = {name: getattr(card, name) for name in CARD}
    more = {name: getattr(card, name) for name in CARD_OF_TEXTS}
    return kept | {name: value for name, value in more.items() if value is not None}
