"""Ratings: two towers, pairs as they are, lists of items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from distill.data.pairs import PairAugmentation, pair_packing
from distill.kinds.kind import (
    OptimizerDefaults,
    Packings,
    Readable,
    StudentSetup,
    TrainingKind,
)
from distill.kinds.pair_join import join_of
from distill.kinds.rating_figures import FIGURES, NDCG, evaluate, references_of, validate
from distill.options import Options
from distill.student.recommender import MODEL_TYPE, Recommender, reopen
from distill.student.student import ExportedStudent
from distill.student.towers import DEFAULT, width_of
from distill.student.towers_onnx import write_int8, write_onnx
from distill.student.towers_student import TowersSpec
from selection.kinds.ratings.reading.pairs_file import pairs_of_file
from selection.kinds.ratings.table import table_of
from zoo.errors import UserError

if TYPE_CHECKING:
    from distill.training.figures import Figure
    from selection.task import Task

OPTIMIZERS = {
    "adamw": OptimizerDefaults(rate=1e-2, pretrained_rate=1e-2, weight_decay=0.1),
    "sgd": OptimizerDefaults(rate=0.5, pretrained_rate=0.5, weight_decay=1e-4),
}
STEPS = 3_000
BATCH = 256


def _takes(student: str) -> bool:
    return width_of(student) is not None


def _check_student(options: Options) -> None:
    if not _takes(options.student):
        raise UserError(
            f"--student {options.student} is no student for ratings; expected towers-D, D the width"
            f" of a vector, such as {DEFAULT}, which is the default"
        )
    if options.network_arguments:
        raise UserError(
            f"--student-args: {options.student} has no further arguments: leave them out"
        )


def _set_up(options: Options, task: Task) -> StudentSetup:
    _check_student(options)
    table, history = table_of(task.train), join_of(task).items.history
    listed = history.listed
    spec = TowersSpec(
        architecture=options.student,
        users=len(table.user_ids),
        items=len(table.item_ids),
        values=table.values,
        listed=None if len(listed) == history.items else tuple(listed.tolist()),
    )
    return StudentSetup(spec, PairAugmentation())


def _packings(task: Task, spec: TowersSpec) -> Packings:
    return Packings(pair_packing(), pair_packing())


def _resolved(spec: TowersSpec, augmentation: PairAugmentation) -> dict[str, Any]:
    return {"student": spec.architecture}


def _values(task: Task) -> tuple[float, ...]:
    return table_of(task.train).values


def _decided_by(task: Task) -> Figure:
    return NDCG


def _is_export(config: Mapping[str, Any]) -> bool:
    return config.get("model_type") == MODEL_TYPE


def _readables(
    folder: Path, student: ExportedStudent, given: Sequence[str | Path]
) -> Iterable[Readable]:
    """Pairs written as ``USER,ITEM``, or the rows of a table of pairs."""
    recommender = Recommender.open(folder)
    for item in given:
        for user, of_item in _pairs(item):
            yield Readable(f"{user},{of_item}", partial(_read, recommender, user, of_item))


def _pairs(given: str | Path) -> Iterator[tuple[str, str]]:
    path = Path(given)
    if path.is_file():
        yield from pairs_of_file(path)
        return
    user, comma, item = str(given).partition(",")
    if not comma:
        raise UserError(
            f"{given}: no such file; give --user USER for the items to recommend, a pair as"
            " USER,ITEM, or a table with the columns user and item"
        )
    yield user.strip(), item.strip()


def _read(recommender: Recommender, user: str, item: str) -> Tensor:
    """(2,) the places of user and item."""
    if user not in recommender.users:
        raise ValueError(f"the student knows no user {user}")
    if item not in recommender.items:
        raise ValueError(f"the student knows no item {item}")
    return torch.tensor([recommender.users[user], recommender.items[item]])


def _opening() -> list[str]:
    return [
        "It recommends items, and opens without this package as two tables of vectors:",
        "",
        "```python",
        'tables = safetensors.torch.load_file("student/model.safetensors")',
        'scores = tables["user_vectors"] @ tables["item_vectors"].T + tables["item_bias"]',
        "```",
        "",
        "Row u of the scores ranks the items of `items.parquet` for user u of `users.parquet`; the"
        " ten best new ones of a user are",
        "",
        "```",
        "python -m distill.predict student --user USER --top 10",
        "```",
    ]


RATINGS = TrainingKind(
    name="ratings",
    noun="pair",
    nouns="pairs",
    library="safetensors",
    pipeline_tag="tabular-classification",
    default_student=DEFAULT,
    grid=(1, 1),
    optimizers=OPTIMIZERS,
    steps=STEPS,
    batch=BATCH,
    foreign=(
        "size",
        "views",
        "teacher_size",
        "flip",
        "mix",
        "image_column",
        "text_column",
        "max_length",
        "pretrained",
    ),
    takes=_takes,
    check_student=_check_student,
    set_up=_set_up,
    packings=_packings,
    resolved=_resolved,
    is_export=_is_export,
    reopen=reopen,
    readables=_readables,
    readable_help="give --user USER, pairs as USER,ITEM, or a table with the columns user and item",
    collate=lambda inputs: torch.stack(list(inputs)),
    write_onnx=write_onnx,
    write_int8=write_int8,
    opening=_opening,
    example="--user USER --top 10",
    input_words=lambda size: "pairs of a user and an item",
    figures=FIGURES,
    decided_by=_decided_by,
    evaluate=evaluate,
    validate=validate,
    join=join_of,
    class_values=_values,
    references=references_of,
    recommender=Recommender.open,
)
