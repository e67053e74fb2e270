"""An exported student of ratings: its files, and the lists that it recommends.

A folder holds ``model.safetensors`` (the vectors and biases of `distill.student.towers.Towers`),
``config.json``, ``users.parquet`` (``user``, and ``seen``: the places of the items that the user
had) and ``items.parquet`` (``item``, ``title``), in the order of the rows of the vectors.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from distill.student.student import ExportedStudent, exported_config
from distill.student.towers import Towers
from selection.kinds.ratings.table import pairs, table_of
from zoo.card import TOWERS
from zoo.errors import UserError
from zoo.files import replacing, write_bytes, write_json

if TYPE_CHECKING:
    from selection.task import Task

MODEL_TYPE = TOWERS
WEIGHTS, USERS, ITEMS = "model.safetensors", "users.parquet", "items.parquet"


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """One item for one user.

    place   1 for the first of the user's list
    score   its relevance, higher is better, comparable within the user's list
    rating  the rating to expect; None of a student of implicit feedback
    """

    user: str
    place: int
    item: str
    title: str
    score: float
    rating: float | None


def write_recommender(
    network: Towers, name: str, classes: Sequence[str], folder: Path, task: Task | None
) -> None:
    """Write the network ``name``; without ``task`` users and items are called by their places."""
    from safetensors.torch import save

    users, width = network.user_vectors.shape
    items = len(network.item_vectors)
    tensors = network.state_dict().items()
    state = {key: value.detach().cpu().contiguous() for key, value in tensors}
    write_bytes(folder / WEIGHTS, save(state, metadata={"format": "pt"}))
    write_json(
        folder / "config.json",
        {
            "model_type": MODEL_TYPE,
            "architecture": name,
            "users": users,
            "items": items,
            "width": width,
            "classes": list(classes),
            "values": list(network.raw_values),
            "implicit": task is not None and table_of(task.train).implicit,
        },
    )
    _write_names(folder, users, items, task)


def _write_names(folder: Path, users: int, items: int, task: Task | None) -> None:
    import pandas as pd

    table = None if task is None else table_of(task.train)
    user_ids = map(str, range(users)) if table is None else table.user_ids
    item_ids = map(str, range(items)) if table is None else table.item_ids
    titles = [""] * items if table is None else table.titles
    seen = [[] for _ in range(users)] if task is None else _seen(task, users)
    frames = {
        USERS: pd.DataFrame({"user": list(user_ids), "seen": seen}),
        ITEMS: pd.DataFrame({"item": list(item_ids), "title": list(titles)}),
    }
    for name, frame in frames.items():
        with replacing(folder / name) as partial:
            frame.to_parquet(partial, index=False)


def _seen(task: Task, users: int) -> list[list[int]]:
    """The items that each user has in any split."""
    seen: list[set[int]] = [set() for _ in range(users)]
    implicit = table_of(task.train).implicit
    for split in (task.train, task.validation, task.test):
        chosen = split.labels == 1 if implicit else split.labels >= 0
        of_users, of_items = pairs(split)
        for user, item in zip(of_users[chosen].tolist(), of_items[chosen].tolist(), strict=True):
            seen[user].add(item)
    return [sorted(items) for items in seen]


@dataclass(frozen=True, eq=False)
class Recommender:
    """An opened student of ratings.

    network   `Towers` in eval mode
    users     the place of each user's id
    items     the place of each item's id
    titles    the items' names for people
    seen      the places of the items that each user had
    values    the ratings that the classes stand for
    implicit  whether items were chosen and not rated
    """

    network: Towers
    users: Mapping[str, int]
    items: Mapping[str, int]
    titles: Sequence[str]
    seen: Sequence[np.ndarray[Any, np.dtype[np.int64]]]
    values: tuple[float, ...]
    implicit: bool

    @classmethod
    def open(cls, folder: Path) -> Recommender:
        """Of an exported student; ``UserError`` where ``folder`` holds none."""
        import pandas as pd

        config, network = exported_config(folder), _network(folder)
        try:
            users, items = pd.read_parquet(folder / USERS), pd.read_parquet(folder / ITEMS)
            recommender = cls(
                network=network,
                users={name: place for place, name in enumerate(users["user"])},
                items={name: place for place, name in enumerate(items["item"])},
                titles=items["title"].tolist(),
                seen=[np.asarray(places, dtype=np.int64) for places in users["seen"]],
                values=tuple(map(float, config["values"])),
                implicit=bool(config["implicit"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unusable(folder, f"{type(error).__name__}: {error}") from error
        if (len(users), len(items)) != (len(network.user_vectors), len(network.item_vectors)):
            raise _unusable(folder, "its names and vectors differ in number")
        if any(len(places) and places.max() >= len(items) for places in recommender.seen):
            raise _unusable(folder, "a user has seen an item that is none of it")
        return recommender

    @cached_property
    def _index(self) -> Any:
        """The items' vectors with their biases, for inner products."""
        import faiss

        with torch.no_grad():
            network = self.network
            rows = torch.cat([network.item_vectors, network.item_bias[:, None]], dim=1)
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(np.ascontiguousarray(rows.numpy()))
        return index

    def user(self, name: str) -> int:
        """The place of a user; ``UserError`` with near ids where there is none."""
        place = self.users.get(name)
        if place is None:
            near = difflib.get_close_matches(name, self.users, n=3, cutoff=0.5)
            hint = f"; near: {', '.join(near)}" if near else f", such as {next(iter(self.users))}"
            raise UserError(
                f"--user {name}: no such user among the {len(self.users):,} of the student{hint}"
            )
        return place

    def top(self, name: str, count: int) -> list[Recommendation]:
        """The ``count`` best items for a user that the user has not had, best first; fewer where
        there are no more.
        """
        user = self.user(name)
        seen = self.seen[user]
        query = torch.cat([self.network.user_vectors[user].detach(), torch.ones(1)])[None]
        most = min(count + len(seen), len(self.titles))
        scores, places = self._index.search(query.numpy(), most)
        new = [
            (int(item), float(score))
            for item, score in zip(places[0], scores[0], strict=True)
            if item not in seen
        ][:count]
        ratings = self.ratings(user, [item for item, _ in new])
        ids = list(self.items)
        return [
            Recommendation(
                user=name,
                place=place,
                item=ids[item],
                title=self.titles[item] or ids[item],
                score=score,
                rating=rating,
            )
            for place, ((item, score), rating) in enumerate(zip(new, ratings, strict=True), start=1)
        ]

    @torch.no_grad()
    def ratings(self, user: int, items: Sequence[int]) -> list[float | None]:
        """The rating to expect of each of ``items``; None of implicit feedback."""
        if self.implicit or not items:
            return [None] * len(items)
        pairs = torch.tensor([[user, item] for item in items])
        expected = self.network(pairs).softmax(dim=1) @ torch.tensor(self.values)
        return [round(float(value), 3) for value in expected]


def reopen(folder: Path) -> ExportedStudent:
    """An exported student of ratings; ``UserError`` where ``folder`` holds none."""
    config, network = exported_config(folder), _network(folder)
    return ExportedStudent(
        name=str(config.get("architecture", MODEL_TYPE)),
        network=network,
        classes=tuple(map(str, config.get("classes", ()))),
        config=config,
        example=torch.zeros(1, 2, dtype=torch.int64),
        values=None if config.get("implicit") else network.raw_values,
    )


def _network(folder: Path) -> Towers:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = exported_config(folder)
    try:
        values = tuple(map(float, config["values"]))
        users, items, width = (int(config[name]) for name in ("users", "items", "width"))
        state = load_file(folder / WEIGHTS)
        if tuple(state["user_vectors"].shape) != (users, width):
            raise ValueError("its weights are of another size")
        network = Towers(users, items, width, values)
        network.load_state_dict(state)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _unusable(folder, str(error).splitlines()[0]) from error
    return network.eval()


def _unusable(folder: Path, why: str) -> UserError:
    return UserError(
        f"the student in {folder} cannot be opened: {why}; give the student/ folder of a run"
    )
