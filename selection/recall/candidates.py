"""Which models of the catalogue are to be probed for a task."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from selection.ranking import PACKAGED
from zoo.card import ModelCard
from zoo.catalogue import Catalogue, snapshot_of
from zoo.errors import UserError
from zoo.home import default_catalogue
from zoo.sources import folder
from zoo.sql import quote
from zoo.terminal.command import clean

if TYPE_CHECKING:
    from selection.recall.label_index import Ints, LabelIndex
    from selection.recall.search import Recalled

MOST = 50  # without a budget, at most so many models are probed
UNBOUNDED = 1_000  # what "all" means out of millions: more cards than any budget can probe
RESERVED = 4  # one of so many places of the shortlist is kept for models without label names
_FAILED = 1_000  # models that cannot be loaded are listed up to here
_LOCAL = "source IN ('folder', 'small')"


@dataclass(frozen=True)
class Candidates:
    """``cards`` to probe, best guess first; ``failed`` cannot be loaded but were named or lie on
    this machine.

    ``catalogue`` says where they come from; ``known`` and ``loadable`` count models of the
    catalogue after the filters, ``touched`` those of them that the search reached through label
    names (``touched_spaces`` of ``spaces`` label spaces); ``left_out`` were not taken because of
    the limit.
    """

    cards: list[ModelCard]
    failed: list[ModelCard]
    catalogue: str
    known: int
    loadable: int
    left_out: int
    touched: int = 0
    touched_spaces: int = 0
    spaces: int = 0


def candidates(
    classes: Sequence[str],
    *,
    catalogue: Path | None = None,
    where: str | None = None,
    models: Sequence[str] = (),
    offline: bool = False,
    most: int | None = MOST,
    class_prior: Sequence[float] | None = None,
    largest: float | None = None,
) -> Candidates:
    """The models that meet ``where`` and ``models`` (ids or globs), at most ``most``, in the order
    of the prior.

    Where there are more, they are recalled: the models whose label names come nearest to
    ``classes`` (weighted by ``class_prior``, their shares in the task; uniform where unknown),
    equal ones by the metadata prior, then id, and one of four places for the best models without
    label names by that prior. ``most=None`` takes all, of millions the first thousand; no more
    cards than these are made. Models whose weights are not here and take more than ``largest``
    bytes, or nobody knows how many, are left out. With no catalogue yet the packaged small zoo is
    used. ``offline`` keeps only models whose weights are on this machine. ``UserError`` where
    nothing matches, with the nearest id.
    """
    with _opened(catalogue) as (book, name):
        chosen = _all_of(where, _named(book, where, models, name))
        known = book.count(chosen)
        if not known:
            raise UserError(
                f"no model of {name} meets {where!r}; loosen --where, or add models: python -m"
                " zoo.crawl --source FOLDER"
            )
        wanted = "true" if models else _LOCAL
        failed = book.cards(where=_all_of(chosen, f"loadable = false AND {wanted}"), limit=_FAILED)
        usable = _all_of(
            chosen,
            "loadable IS DISTINCT FROM false",
            _on_this_machine(book, chosen) if offline else None,
        )
        loadable = book.count(usable)
        if not loadable and not failed:
            why = (
                "has its weights on this machine (--offline)" if offline else "can be loaded safely"
            )
            raise UserError(
                f"{known} models of {name} match, none {why}; add some: python -m zoo.crawl"
                " --source small"
            )
        room = min(loadable, UNBOUNDED if most is None else most)
        if largest is not None and not offline:
            size = "coalesce(weight_bytes, 4 * params_total)"
            usable = _all_of(usable, f"{_on_this_machine(book, chosen)} OR {size} <= {largest:.0f}")
        narrowed = usable if where or models or offline or largest is not None else None
        cards, touched = _shortlist(
            book, classes, usable, narrowed, room, class_prior, keep=name == str(book.path)
        )
    return Candidates(cards, failed, name, known, loadable, loadable - len(cards), *touched)


def _all_of(*conditions: str | None) -> str | None:
    """The conditions joined by AND; a line break ends a trailing comment of the user's."""
    given = [f"({condition}\n)" for condition in conditions if condition and condition.strip()]
    return " AND ".join(given) or None


@contextlib.contextmanager
def _opened(catalogue: Path | None) -> Iterator[tuple[Catalogue, str]]:
    """The catalogue and its name; the packaged zoo where there is no catalogue."""
    path = catalogue or default_catalogue()
    if catalogue is not None or path.exists() or snapshot_of(path).exists():
        with Catalogue.open(path) as book:
            yield book, str(path)
        return
    with tempfile.TemporaryDirectory() as scratch:
        with Catalogue.open(Path(scratch) / "small.duckdb", write=True) as small:
            small.upsert(folder.cards(folder.small_zoo(), source="small"))
            small.publish()
        with Catalogue.open(Path(scratch) / "small.duckdb") as book:
            yield book, PACKAGED


def _named(book: Catalogue, where: str | None, models: Sequence[str], name: str) -> str | None:
    """A condition that any of ``models`` names the row; a pattern that names none is the user's
    error.
    """
    conditions = []
    for pattern in models:
        exact = f"id = {quote(pattern)}"
        condition = (
            exact
            if book.count(_all_of(where, exact)) or not set(pattern) & set("*?[")
            else f"id GLOB {quote(pattern)}"
        )
        if not book.count(_all_of(where, condition)):
            likeness = f"jaro_winkler_similarity(id, {quote(pattern)})"
            meets = _all_of(where) or "true"
            near = book.sql(
                f"SELECT id, {likeness} AS likeness FROM models WHERE {meets} ORDER BY likeness"
                " DESC, id LIMIT 1"
            )
            hint = (
                f"; did you mean {clean(near['id'][0], 200)!r}?"
                if len(near) and near["likeness"][0] > 0.7
                else ""
            )
            raise UserError(
                f"no model {pattern!r} among the {book.count(_all_of(where))} of {name} that"
                f" match{hint} (python -m zoo.query lists them)"
            )
        conditions.append(f"({condition})")
    return " OR ".join(conditions) or None


def _on_this_machine(book: Catalogue, chosen: str | None) -> str:
    """A condition that the weights lie here: looks only at models that the Hub's cache has a folder
    of.
    """
    from huggingface_hub import constants

    from zoo.loading.download import is_local

    found = Path(constants.HF_HUB_CACHE).glob("models--*")
    there = (
        ", ".join(quote(path.name.removeprefix("models--").replace("--", "/")) for path in found)
        or "''"
    )
    cards = book.cards(
        where=_all_of(chosen, f"NOT ({_LOCAL}) AND coalesce(location, id) IN ({there})")
    )
    ids = ", ".join(quote(card.id) for card in cards if is_local(card)) or "''"
    return f"{_LOCAL} OR id IN ({ids})"


# --- the shortlist


@dataclass(frozen=True)
class _Shortlist:
    cards: list[ModelCard]
    touched: int = 0  # models
    touched_spaces: int = 0
    spaces: int = 0


def _shortlist(
    catalogue: Catalogue,
    classes: Sequence[str],
    usable: str,
    *,
    is_filtered: bool,
    size: int,
    class_prior: Sequence[float] | None,
    keep_index: bool,
) -> _Shortlist:
    """At most ``size`` cards that meet ``usable``, in the order of the prior."""
    if not size:
        return _Shortlist([])
    encoder = NameEncoder.table()
    index = label_index(catalogue, encoder, keep=keep_index)
    is_permitted = np.ones(len(index.ids), np.bool_)
    if is_filtered:
        ids = catalogue.sql(f"SELECT id FROM models WHERE {usable}")["id"]
        is_permitted = pd.Index(index.ids).isin(ids)
    models = index.models_per_space(is_permitted)
    costs = np.full(len(models), np.inf)
    touched = np.zeros(0, np.int64)
    if models.any():
        nearest = nearest_spaces(
            index, encoder.encode(classes), k=size, prior=class_prior, models=models
        )
        costs[nearest.spaces], touched = nearest.costs, nearest.touched
    places = _with_reserved(*_in_order(index, costs, is_permitted), size)
    ids = ", ".join(quote(index.ids[place]) for place in places) or "''"
    cards = catalogue.cards(where=all_of(usable, f"id IN ({ids})"))
    if len(cards) > 1:
        cards = _by_prior(cards, prior(cards, classes, encoder=encoder))
    return _Shortlist(
        cards, int(models[touched].sum()), len(touched), int(np.count_nonzero(models))
    )


def _in_order(index: LabelIndex, costs: Costs, is_permitted: Bools) -> tuple[Ints, Ints]:
    """The permitted models of the spaces with finite ``costs`` (S,), and those without names.

    Both best first: by cost, equal costs by the metadata prior, then by id.
    """
    has_names = index.space_of_model >= 0
    model_costs = np.where(has_names, np.append(costs, 0)[index.space_of_model], 0)
    order = np.lexsort((-index.quality, model_costs))  # stable, and models lie in order of ids
    order = order[is_permitted[order] & np.isfinite(model_costs[order])]
    return order[has_names[order]], order[~has_names[order]]


def _with_reserved(labelled: Ints, unlabelled: Ints, size: int) -> Ints:
    """The first of both, ``size`` in all; models without label names have a reserved share."""
    reserved = min(len(unlabelled), max(size // RESERVED, 1 if size > 1 else 0))
    labelled = labelled[: size - reserved]
    return np.concatenate([labelled, unlabelled[: size - len(labelled)]])


def _by_prior(cards: list[ModelCard], values: Costs) -> list[ModelCard]:
    order = sorted(range(len(cards)), key=lambda place: (-values[place], cards[place].id))
    return [cards[place] for place in order]
