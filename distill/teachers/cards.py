"""The teachers that a ranking names: their cards, and where they know the task's classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.card import BUILT_IN, ModelCard
from zoo.errors import Unavailable, UserError
from zoo.terminal.command import printable
from zoo.terminal.progress import note

if TYPE_CHECKING:
    from selection.ranking import Ranking, Row


def committee_cards(
    ranking: Ranking, *, top: int | None, catalogue: Path | None
) -> tuple[ModelCard, ...]:
    """The cards of the ranking's committee, shortened to ``top``.

    A folder model is read from its folder, others come from the catalogue, or, where it lacks them,
    from the ranking's row. Raises ``UserError`` where a member has no row or failed.
    """
    rows = {row.model: row for row in ranking.rows}
    cards = []
    for model in ranking.committee[:top]:
        row = rows.get(model)
        if row is None or row.error:
            why = "has no row" if row is None else f"failed there ({printable(row.error, 200)})"
            raise UserError(
                f"the ranking's committee names {printable(model, 80)}, which {why}: rank again"
            )
        card = _card(row, catalogue)
        if row.revision not in (card.revision, "unknown"):
            note(
                f"{printable(model, 80)} has changed since it was ranked (revision"
                f" {printable(card.revision[:12])}, ranked {printable(row.revision[:12])})"
            )
        cards.append(card)
    return tuple(cards)


def _card(row: Row, catalogue: Path | None) -> ModelCard:
    sha = None if row.revision == "unknown" else row.revision
    bare = ModelCard(
        id=row.model,
        source=row.source,
        location=row.location,
        sha=sha,
        license=row.license,
    )
    if row.source == BUILT_IN:
        return bare
    if row.source in ("folder", "small"):
        from zoo.sources import folder

        if row.location is None or not (Path(row.location) / "config.json").is_file():
            return bare
        return folder.card(Path(row.location), source=row.source, model=row.model)
    try:
        from zoo.catalogue import Catalogue

        with Catalogue.open(catalogue) as opened:
            cards = opened.cards(models=[row.model])
    except (UserError, Unavailable, ImportError):
        return bare
    return replace(cards[0], sha=sha or cards[0].sha) if cards else bare


def columns(labels: Sequence[str] | None, classes: Sequence[str]) -> tuple[int, ...] | None:
    """The place of each of ``classes`` in a teacher's ``labels``, by name without regard to case.

    None where a class has no label or several, or shares its label with another class.
    """
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels or ()):
        for name in {_plain_name(part) for part in [label, *label.split(",")]}:
            places.setdefault(name, []).append(place)
    chosen = []
    for name in classes:
        matches = places.get(_plain_name(name), [])
        if len(matches) != 1 or matches[0] in chosen:
            return None
        chosen += matches
    return tuple(chosen)


def _plain_name(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())
