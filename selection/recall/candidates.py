"""Which models of the catalogue are to be probed for a task."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selection.ranking import PACKAGED
from selection.recall.label_build import USABLE, label_index
from selection.recall.label_index import Bools, Costs, Ints, LabelIndex
from selection.recall.names import NameEncoder
from selection.recall.prior import prior
from selection.recall.search import nearest_spaces
from zoo.card import ModelCard
from zoo.catalogue import Catalogue, snapshot_of
from zoo.errors import UserError
from zoo.home import default_catalogue
from zoo.sources import folder
from zoo.sql.statement import quote
from zoo.terminal.command import printable

MOST = 50  # without a budget, at most so many models are probed
UNBOUNDED = 1_000  # more cards than any budget can probe
RESERVED = 4  # one in so many places of the shortlist is kept for models without label names
_MOST_FAILED = 1_000  # models that cannot be loaded and are listed
_LIKE_ENOUGH = 0.7  # Jaro-Winkler similarity of an id that is suggested
_LOCAL = "source IN ('folder', 'small')"


@dataclass(frozen=True)
class Candidates:
    """The models to probe, and how many there were to choose from.

    Parameters
    ----------
    cards : list of ModelCard
        Models to probe, best guess first.
    failed : list of ModelCard
        Models that cannot be loaded but were named or lie on this machine.
    catalogue : str
        Where the cards come from.
    known, loadable : int
        Models of the catalogue after the filters, and how many of them can be loaded.
    left_out : int
        Loadable models beyond the limit, or too large.
    too_large : int
        How many of them have weights of more bytes than may be fetched.
    touched : int
        Models whose label names recall compared with the task's.
    prior : mapping of str to float
        The metadata prior of each card by its id.
    """

    cards: list[ModelCard]
    failed: list[ModelCard]
    catalogue: str
    known: int
    loadable: int
    left_out: int
    too_large: int = 0
    touched: int = 0
    prior: Mapping[str, float] = field(default_factory=dict)


def candidates(
    classes: Sequence[str],
    *,
    catalogue: Path | None = None,
    where: str | None = None,
    models: Sequence[str] = (),
    offline: bool = False,
    modalities: Sequence[str] = ("image",),
    most: int = MOST,
    largest: float | None = None,
    required: bool = True,
) -> Candidates:
    """The models of a catalogue that are to be probed for a task.

    Where more than ``most`` can be loaded, they are recalled: the models whose label names come
    nearest to ``classes``, equal ones by the metadata prior, then by id; one place in four goes to
    models without label names, the best by the prior. The cards come in the order of the prior.

    Parameters
    ----------
    classes : sequence of str
        The task's class names.
    catalogue : Path, optional
        The catalogue's file. Default: the user's, or the packaged small zoo if there is none.
    where : str, optional
        A SQL expression that the models meet.
    models : sequence of str
        Ids or globs; each model meets one of them. Default: all.
    offline : bool
        Take only models whose weights are on this machine.
    modalities : sequence of str
        What the models must be able to be shown.
    most : int
        Take at most so many.
    largest : float, optional
        Bytes. Where there are more than ``most``, models whose weights are not here, and are larger
        or of unknown size, are left out.
    required : bool
        Whether a catalogue without a model of ``modalities`` is an error.

    Raises
    ------
    UserError
        If nothing matches; the message names the nearest id.
    """
    with _open(catalogue) as (opened, name):
        matching = _matching(opened, where, models, name)
        matching, known = _of_modality(opened, matching, modalities, name, required=required)
        if not known:
            return Candidates([], [], name, known=0, loadable=0, left_out=0)
        failed = _failed(opened, matching, everywhere=bool(models))
        is_here = _is_here(opened, matching) if offline or largest is not None else None
        usable = _all_of(matching, USABLE, is_here if offline else None)
        loadable = opened.count(usable)
        if not loadable and not failed:
            raise UserError(_nothing_loadable(known, name, offline=offline))
        too_large = 0
        if largest is not None and not offline and loadable > most:
            usable = _all_of(usable, f"{is_here} OR {_is_small(largest)}")
            too_large = loadable - opened.count(usable)
        is_filtered = bool(where or models or is_here) or loadable < opened.count(USABLE)
        shortlist = _shortlist(
            opened,
            classes,
            size=min(loadable, most),
            usable=usable if is_filtered else None,
            keep_index=name != PACKAGED,
        )
    return Candidates(
        cards=shortlist.cards,
        failed=failed,
        catalogue=name,
        known=known,
        loadable=loadable,
        left_out=loadable - len(shortlist.cards),
        too_large=too_large,
        touched=shortlist.touched,
        prior=shortlist.prior,
    )


def _is_small(largest: float) -> str:
    """SQL: the weights have at most ``largest`` bytes."""
    return f"coalesce(weight_bytes, 4 * params_total) <= {largest:.0f}"


def check_filters(catalogue: Path | None, *, where: str | None, models: Sequence[str]) -> None:
    """Raise ``UserError`` where no model of the catalogue meets what the user named."""
    if catalogue is not None or where or models:
        with _open(catalogue) as (opened, name):
            _matching(opened, where, models, name)


def _matching(
    catalogue: Catalogue,
    where: str | None,
    models: Sequence[str],
    name: str,
) -> str:
    """The condition that a model meets ``where`` and is one of ``models``; some model does."""
    condition = _all_of(where, _any_of(catalogue, where, models, name))
    if not catalogue.count(condition):
        raise UserError(
            f"no model of {name} meets {where!r}; loosen --where, or add models: python -m"
            " zoo.crawl --source FOLDER"
        )
    return condition


def _of_modality(
    catalogue: Catalogue,
    matching: str,
    modalities: Sequence[str],
    name: str,
    *,
    required: bool,
) -> tuple[str, int]:
    """The condition that a matching model can be shown samples of the task, and how many can."""
    condition = _all_of(matching, f"coalesce(modality, 'image') IN ({_listed(modalities)})")
    count = catalogue.count(condition)
    if not count and required:
        shown = " or ".join(f"{modality.removesuffix('s')}s" for modality in modalities)
        raise UserError(
            f"none of the {catalogue.count(matching)} models of {name} that match reads {shown};"
            " add such models: python -m zoo.crawl --source FOLDER"
        )
    return condition, count


def _failed(catalogue: Catalogue, matching: str, *, everywhere: bool) -> list[ModelCard]:
    """Matching models that cannot be loaded; those of the Hub only if ``everywhere``."""
    is_listed = None if everywhere else _LOCAL
    condition = _all_of(matching, "loadable = false", is_listed)
    return catalogue.cards(where=condition, limit=_MOST_FAILED)


def _all_of(*conditions: str | None) -> str:
    """The conditions joined by AND; a line break ends a trailing comment of the user's."""
    given = [f"({condition}\n)" for condition in conditions if condition and condition.strip()]
    return " AND ".join(given) or "true"


@contextlib.contextmanager
def _open(path: Path | None) -> Iterator[tuple[Catalogue, str]]:
    """The catalogue and its name; the packaged zoo where there is no catalogue."""
    default = default_catalogue()
    if path is not None or default.exists() or snapshot_of(default).exists():
        with Catalogue.open(path or default) as catalogue:
            yield catalogue, str(path or default)
        return
    with tempfile.TemporaryDirectory() as scratch:
        small = Path(scratch) / "small.duckdb"
        with Catalogue.open(small, write=True) as writer:
            writer.upsert(folder.cards(folder.small_zoo(), source="small"))
            writer.publish()
        with Catalogue.open(small) as catalogue:
            yield catalogue, PACKAGED


def _any_of(
    catalogue: Catalogue,
    where: str | None,
    patterns: Sequence[str],
    name: str,
) -> str | None:
    """The condition that an id is one of ``patterns`` (ids or globs), each of which must match."""
    conditions = []
    for pattern in patterns:
        condition = f"id = {quote(pattern)}"
        if set(pattern) & set("*?[") and not catalogue.count(_all_of(where, condition)):
            condition = f"id GLOB {quote(pattern)}"
        if not catalogue.count(_all_of(where, condition)):
            raise UserError(
                f"no model {pattern!r} among the {catalogue.count(_all_of(where))} of {name} that"
                f" match{_suggestion(catalogue, where, pattern)} (python -m zoo.query lists them)"
            )
        conditions.append(f"({condition})")
    return " OR ".join(conditions) or None


def _suggestion(catalogue: Catalogue, where: str | None, pattern: str) -> str:
    similarity = f"jaro_winkler_similarity(id, {quote(pattern)})"
    rows = catalogue.sql(
        f"SELECT id, {similarity} AS similarity FROM models WHERE {_all_of(where)}"
        " ORDER BY similarity DESC, id LIMIT 1"
    )
    if len(rows) and rows["similarity"][0] > _LIKE_ENOUGH:
        return f"; did you mean {printable(rows['id'][0], 200)!r}?"
    return ""


def _nothing_loadable(known: int, name: str, *, offline: bool) -> str:
    reason = "has its weights on this machine (--offline)" if offline else "can be loaded safely"
    return (
        f"{known} models of {name} match, none {reason}; add some: python -m zoo.crawl"
        " --source small"
    )


def _is_here(catalogue: Catalogue, where: str | None) -> str:
    """The condition that a model's weights are on this machine.

    Only models that the Hub's cache has a folder of are looked at.
    """
    from huggingface_hub import constants

    from zoo.loading.download import is_local

    folders = Path(constants.HF_HUB_CACHE).glob("models--*")
    cached = [path.name.removeprefix("models--").replace("--", "/") for path in folders]
    is_cached = f"coalesce(location, id) IN ({_listed(cached)})"
    cards = catalogue.cards(where=_all_of(where, f"NOT ({_LOCAL}) AND {is_cached}"))
    return f"{_LOCAL} OR id IN ({_listed([card.id for card in cards if is_local(card)])})"


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(map(quote, texts)) or "''"


# --- the shortlist


class _Shortlist(NamedTuple):
    cards: list[ModelCard]
    touched: int  # models whose label names were compared
    prior: dict[str, float]


def _shortlist(
    catalogue: Catalogue,
    classes: Sequence[str],
    *,
    size: int,
    usable: str | None,
    keep_index: bool,
) -> _Shortlist:
    """At most ``size`` cards that meet ``usable``, in the order of the prior."""
    if not size:
        return _Shortlist([], 0, {})
    encoder = NameEncoder.table()
    index = label_index(catalogue, encoder, keep=keep_index)
    is_permitted = np.ones(len(index.ids), np.bool_)
    if usable:
        permitted = set(catalogue.sql(f"SELECT id FROM models WHERE {usable}")["id"])
        is_permitted = np.array([model in permitted for model in index.ids], np.bool_)
    models = index.models_per_space(is_permitted)
    costs = np.full(len(models), np.inf)
    touched = 0
    if models.any():
        nearest = nearest_spaces(
            index,
            encoder.encode(classes),
            k=size,
            models=models,
        )
        costs[nearest.spaces] = nearest.costs
        touched = int(models[nearest.touched].sum())
    with_names, without_names = _in_order(index, costs, is_permitted)
    places = _with_reserved(with_names, without_names, size)
    ids = _listed([index.ids[place] for place in places])
    cards = catalogue.cards(where=_all_of(usable, f"id IN ({ids})"))
    values: dict[str, float] = {}
    if len(cards) > 1:
        guesses = prior(cards, classes, encoder=encoder).tolist()
        values = {card.id: value for card, value in zip(cards, guesses, strict=True)}
        cards.sort(key=lambda card: (-values[card.id], card.id))
    return _Shortlist(cards, touched, values)


def _in_order(index: LabelIndex, costs: Costs, is_permitted: Bools) -> tuple[Ints, Ints]:
    """The permitted models of the spaces with finite ``costs`` (S,), and those without names.

    Both best first: by cost, equal costs by the metadata prior, then by id.
    """
    has_names = index.space_of_model >= 0
    model_costs = np.append(costs, 0)[index.space_of_model]  # 0 for the place -1, without names
    models = np.flatnonzero(is_permitted & np.isfinite(model_costs))
    order = np.lexsort((-index.quality[models], model_costs[models]))  # stable: models lie by id
    models = models[order]
    return models[has_names[models]], models[~has_names[models]]


def _with_reserved(labelled: Ints, unlabelled: Ints, size: int) -> Ints:
    """The first of both, ``size`` in all; models without label names have a reserved share."""
    reserved = max(size // RESERVED, 1) if size > 1 else 0
    reserved = min(reserved, len(unlabelled))
    labelled = labelled[: size - reserved]
    return np.concatenate([labelled, unlabelled[: size - len(labelled)]])
