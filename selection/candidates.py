"""Which models of the catalogue are to be probed for a task."""

from __future__ import annotations

import difflib
import fnmatch
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.card import ModelCard
from zoo.catalogue import Catalogue, snapshot_of
from zoo.errors import UserError
from zoo.home import default_catalogue
from zoo.sources import folder

MOST = 50  # without a budget, at most so many models are probed


@dataclass(frozen=True)
class Candidates:
    """``cards`` to probe, best guess first; ``failed`` cannot be loaded but were named or lie on this machine.

    ``catalogue`` says where they come from; ``known``, ``loadable`` and ``local`` count models of the catalogue after
    the filters; ``left_out`` were not taken because of the limit.
    """

    cards: list[ModelCard]
    failed: list[ModelCard]
    catalogue: str
    known: int
    loadable: int
    left_out: int


def candidates(
    classes: Sequence[str],
    *,
    catalogue: Path | None = None,
    where: str | None = None,
    models: Sequence[str] = (),
    offline: bool = False,
    most: int | None = MOST,
) -> Candidates:
    """The models that meet ``where`` and ``models`` (ids or globs), the best ``most`` by the prior.

    With no catalogue yet the packaged small zoo is used. ``offline`` keeps only models whose weights are on this machine.
    ``UserError`` where nothing matches, with the nearest id.
    """
    cards, name = _known(catalogue, where)
    if models:
        cards = _named(cards, models, name)
    if not cards:
        raise UserError(f"no model of {name} meets {where!r}; loosen --where, or add models: python -m zoo.crawl --source FOLDER")
    usable = [card for card in cards if card.loadable is not False]
    local = ("folder", "small")
    failed = [card for card in cards if card.loadable is False and (models or card.source in local)]
    if offline:
        from zoo.download import is_local

        usable = [card for card in usable if card.source in local or is_local(card)]
    if not usable and not failed:
        why = "has its weights on this machine (--offline)" if offline else "can be loaded safely"
        raise UserError(f"{len(cards)} models of {name} match, none {why}; add some: python -m zoo.crawl --source small")
    chosen = _best(usable, classes, most)
    return Candidates(chosen, failed, name, len(cards), len(usable), len(usable) - len(chosen))


def _known(catalogue: Path | None, where: str | None) -> tuple[list[ModelCard], str]:
    """The catalogue's cards that meet ``where``, and its name; the packaged zoo where there is no catalogue."""
    path = catalogue or default_catalogue()
    if catalogue is None and not path.exists() and not snapshot_of(path).exists():
        cards = list(folder.cards(folder.small_zoo(), source="small"))
        if where is None:
            return cards, "small zoo"
        with tempfile.TemporaryDirectory() as scratch, Catalogue.open(Path(scratch) / "small.duckdb", write=True) as small:
            small.upsert(cards)
            return small.cards(where=where), "small zoo"
    with Catalogue.open(path) as known:
        return known.cards(where=where), str(path)


def _named(cards: Sequence[ModelCard], models: Sequence[str], name: str) -> list[ModelCard]:
    """The cards that any of ``models`` names; a pattern that names none is the user's error."""
    ids = [card.id for card in cards]
    chosen: set[str] = set()
    for pattern in models:
        hits = [pattern] if pattern in ids else fnmatch.filter(ids, pattern)
        if not hits:
            near = difflib.get_close_matches(pattern, ids, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(
                f"no model {pattern!r} among the {len(ids)} of {name} that match{hint} (python -m zoo.query lists them)"
            )
        chosen.update(hits)
    return [card for card in cards if card.id in chosen]


def _best(cards: Sequence[ModelCard], classes: Sequence[str], most: int | None) -> list[ModelCard]:
    if len(cards) < 2:
        return list(cards)
    from selection.prior import prior

    values = prior(cards, classes)
    order = sorted(range(len(cards)), key=lambda i: (-values[i], cards[i].id))
    return [cards[i] for i in order[:most]]
