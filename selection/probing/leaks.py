"""Whether a teacher may have been trained on the task itself."""

from __future__ import annotations

import re

from selection.task import Task
from zoo.card import ModelCard
from zoo.terminal.command import clean


def leaks(card: ModelCard, task: Task) -> list[str]:
    """Sentences where a teacher's training data may hold the task itself: its ranking then flatters
    it.
    """
    mine = _plain(task.name)
    named = [
        data for data in card.datasets or () if mine and _plain(data.rsplit("/", 1)[-1]) == mine
    ]
    if named:
        return [
            f"{clean(card.id, 80)} was trained on {clean(named[0], 60)}, which names this task"
            " itself: its place flatters it"
        ]
    theirs = {label.strip().lower() for label in card.labels or ()}
    if len(task.classes) > 2 and {name.strip().lower() for name in task.classes} == theirs:
        return [
            f"{clean(card.id, 80)} has exactly this task's {len(task.classes)} class names: "
            "if it was trained on the same images, its place flatters it"
        ]
    return []


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
