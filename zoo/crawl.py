"""``python -m zoo.crawl``: put models into the catalogue."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from zoo.card import ModelCard
from zoo.catalogue import Catalogue, utc_now
from zoo.errors import UserError
from zoo.sql import quote
from zoo.terminal.command import clean, run, split_list

_SHOWN = 5


def crawl(
    source: Annotated[
        str,
        typer.Option(
            help=(
                "hub (every public model), timm (every pretrained model timm knows, no network),"
                " small (the packaged "
                "zoo), or a FOLDER of models."
            )
        ),
    ] = "hub",
    pipeline_tag: Annotated[
        str | None, typer.Option(help="Hub: only this task, e.g. image-classification.")
    ] = None,
    filter: Annotated[
        list[str] | None,
        typer.Option(
            help="Hub: only models with this tag, e.g. timm; repeat, or separate by commas."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many models.")] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Hub: only what changed since the last crawl.")
    ] = False,
    details: Annotated[
        str | None,
        typer.Option(
            help=(
                "Hub: the models whose configs and weight headers are fetched, as an SQL"
                " expression; none: no details."
            ),
        ),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Hub: another address, e.g. a mirror.")
    ] = None,
    catalogue: Annotated[Path | None, typer.Option(help="The catalogue's file.")] = None,
) -> None:
    """Put models into the catalogue: from the Hub, from timm, or from a folder. Run it again to go
    on or to refresh.
    """
    if source == "hub":
        from zoo.sources.hub import crawl as crawl_hub
        from zoo.sources.listing import Scope

        scope = Scope(pipeline_tag=pipeline_tag, filters=tuple(split_list(filter)), limit=limit)
        with Catalogue.open(catalogue, write=True) as opened:
            said = crawl_hub(opened, scope, update=update, details=details, endpoint=endpoint)
            said.append(f"catalogue: {opened.path} ({opened.count():,} models)")
        print("\n".join(clean(line) for line in said))
        return
    for option, value in {
        "--pipeline-tag": pipeline_tag,
        "--filter": filter,
        "--update": update,
        "--details": details,
        "--endpoint": endpoint,
    }.items():
        if value:
            raise UserError(
                f"{option} is for --source hub only; with --source {source} leave it out"
            )
    if source == "timm":
        _crawl_timm(catalogue, limit)
    else:
        _crawl_folder(catalogue, source, limit)


def _crawl_timm(file: Path | None, limit: int | None) -> None:
    from zoo.sources import timm

    with Catalogue.open(file, write=True) as catalogue:
        cards = list(itertools.islice(timm.cards(), limit))
        ids = ", ".join(quote(card.id) for card in cards)
        known = catalogue.locations(
            f"source = 'hub' AND id IN ({ids})"
        )  # the Hub's own row says more
        old = () if limit else catalogue.locations("source = 'timm'")
        _store(catalogue, [card for card in cards if card.id not in known], old, "that timm knows")


def _crawl_folder(file: Path | None, source: str, limit: int | None) -> None:
    from zoo.sources import folder

    root = folder.small_zoo() if source == "small" else Path(source).expanduser()
    if not root.exists():
        raise UserError(
            f"no folder {source}; --source is hub, timm, small, or a FOLDER with one sub-folder a"
            " model"
        )
    root = root.resolve()
    folder.model_folders(root)  # raises UserError before there is a catalogue
    with Catalogue.open(file, write=True) as catalogue:
        known = catalogue.locations(
            "source <> 'hub' OR id NOT LIKE '%/%'"
        )  # a folder's id has no slash
        here = {model for model, location in known.items() if _lies_in(location, root)}
        kind = "small" if source == "small" else "folder"
        cards = list(itertools.islice(folder.cards(root, kind, taken=known.keys() - here), limit))
        _store(catalogue, cards, () if limit else here, f"in {root}")


def _lies_in(location: str | None, root: Path) -> bool:
    return location is not None and root in (Path(location), Path(location).parent)


def _store(
    catalogue: Catalogue, cards: Sequence[ModelCard], old: Iterable[str], where: str
) -> None:
    """Write ``cards``, forget those of ``old`` that are not among them, publish, and say so."""
    now = utc_now()
    vanished = set(old) - {card.id for card in cards}
    with catalogue.transaction():
        catalogue.remove(vanished)
        catalogue.upsert(replace(card, indexed_at=now) for card in cards)
    catalogue.publish()
    failed = [card for card in cards if card.loadable is False]
    print(
        clean(
            f"{len(cards):,} models {where}: {sum(bool(card.loadable) for card in cards):,}"
            f" loadable, {sum(card.labels is not None for card in cards):,} with label names"
            + (f"; {len(vanished):,} are gone and were removed" if vanished else "")
        )
    )
    for card in failed[:_SHOWN]:
        print("  " + clean(f"not loadable: {card.id}: {card.not_loadable_reason}"))
    if len(failed) > _SHOWN:
        print(
            f'  ... and {len(failed) - _SHOWN:,} more: python -m zoo.query --where "not loadable" '
            "--columns id,not_loadable_reason"
        )
    print(clean(f"catalogue: {catalogue.path} ({catalogue.count():,} models)"))
    print(
        "next: python -m zoo.query --where loadable --sort params_total, or python -m"
        " selection.rank --task YOUR_FOLDER"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(crawl, argv, name="zoo.crawl")


if __name__ == "__main__":
    raise SystemExit(main())
