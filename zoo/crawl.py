"""``python -m zoo.crawl``: put models into the catalogue."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.card import ModelCard
from zoo.catalogue import Catalogue, utc_now
from zoo.errors import UserError
from zoo.sql.statement import quote
from zoo.terminal.command import printable, resumable, run
from zoo.terminal.options import EXPLICIT, CatalogueFile, check_bounds, command_of, flag_of

if TYPE_CHECKING:
    from zoo.sources.layout import ModelFolder

# name of a source -> module whose cards() yields all its models; the weights lie on the Hub
SOURCES = {"timm": "zoo.sources.timm"}
_NO_TAG = re.compile(r"[<>=\x00-\x1f\x7f]")
_FAILURES_SHOWN = 5
_NUMBERED_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class CrawlOptions:
    """What is put into the catalogue."""

    source: Annotated[
        str,
        typer.Option(
            help="hub (every public model), timm (every pretrained model timm knows, no network),"
            " small (the packaged zoo), or a FOLDER of models, such as the Hub's own cache."
        ),
    ] = "hub"
    pipeline_tag: Annotated[
        str | None, typer.Option(help="Hub: only this task, e.g. image-classification.")
    ] = None
    filter: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Hub: only models with this tag, e.g. timm; repeat, or separate by commas."
        ),
    ] = ()
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many models.")] = None
    update: Annotated[
        bool, typer.Option("--update", help="Hub: only what changed since the last crawl.")
    ] = False
    details: Annotated[
        str | None,
        typer.Option(
            help="Hub: the models whose configs and weight headers are fetched, as an SQL"
            " expression; none: no details."
        ),
    ] = None
    endpoint: Annotated[str | None, typer.Option(help="Hub: another address, e.g. a mirror.")] = (
        None
    )
    token: Annotated[
        bool,
        typer.Option(
            "--token",
            help="Hub: send this machine's token to --endpoint; without it the token goes to"
            " huggingface.co and to HF_ENDPOINT alone.",
        ),
    ] = False
    catalogue: CatalogueFile = None
    explicit: Annotated[frozenset[str], EXPLICIT] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what the Hub would not understand, and options of the Hub for other sources."""
        check_bounds(self)
        if not self.source:
            raise UserError("--source is empty; expected hub, timm, small, or a FOLDER")
        if self.source == "hub":
            self._check_scope()
            return
        for name in ("pipeline_tag", "filter", "update", "details", "endpoint", "token"):
            if getattr(self, name):
                raise UserError(
                    f"{flag_of(CrawlOptions, name)} is for --source hub only; with --source"
                    f" {self.source} leave it out"
                )

    def _check_scope(self) -> None:
        """Refuse tags that no model has: an empty one would list the whole Hub."""
        if "filter" in self.explicit and not self.filter:
            raise UserError("--filter is empty; expected a tag, such as timm or license:mit")
        for tag in self.filter:
            if _NO_TAG.search(tag):
                raise UserError(
                    f"--filter {tag!r} is no tag of the Hub; expected such as timm, license:mit or"
                    " dataset:imagenet-1k (conditions over the catalogue: python -m zoo.query"
                    " --where)"
                )
        if self.pipeline_tag is not None and not re.fullmatch(
            r"[a-z0-9]+(-[a-z0-9]+)*", self.pipeline_tag
        ):
            raise UserError(
                f"--pipeline-tag {self.pipeline_tag!r} is no task of the Hub; expected such as"
                " image-classification"
            )


def crawl(options: CrawlOptions) -> None:
    """Put models into the catalogue: from the Hub, from timm, or from a folder.

    Run it again to go on or to refresh.
    """
    Catalogue.check_writable(options.catalogue)
    if options.source == "hub":
        _crawl_hub(options)
    elif options.source in SOURCES:
        _crawl_list(options.catalogue, options.source, options.limit)
    else:
        _crawl_folder(options.catalogue, options.source, options.limit)


def _crawl_hub(options: CrawlOptions) -> None:
    from zoo.loading.client import Client
    from zoo.sources.hub import check_online
    from zoo.sources.hub import crawl as crawl_hub
    from zoo.sources.listing import Scope

    scope = Scope(pipeline_tag=options.pipeline_tag, filters=options.filter, limit=options.limit)
    # what raises UserError, before there is a catalogue
    check_online()
    client = Client(options.endpoint, token=options.token or None)
    _check_condition(options.details)
    with (
        resumable("what was listed and fetched is kept"),
        Catalogue.open(options.catalogue, write=True) as catalogue,
    ):
        sentences = crawl_hub(
            catalogue,
            scope,
            update=options.update,
            details=options.details,
            client=client,
        )
        sentences.append(_location(catalogue))
    for sentence in sentences:
        print(printable(sentence))


def _check_condition(expression: str | None) -> None:
    """Raise ``UserError`` where ``--details`` is no condition over the columns of a catalogue."""
    if expression in (None, "none"):
        return
    with (
        tempfile.TemporaryDirectory(prefix="teacher-zoo-") as folder,
        Catalogue.open(Path(folder) / "empty.duckdb", write=True) as empty,
    ):
        empty.count(expression)


def _crawl_list(file: Path | None, source: str, limit: int | None) -> None:
    module = importlib.import_module(SOURCES[source])
    with Catalogue.open(file, write=True) as catalogue:
        cards = list(itertools.islice(module.cards(), limit))
        ids = ", ".join(quote(card.id) for card in cards)
        # the Hub's row of a model says more
        from_hub = catalogue.locations(f"source = 'hub' AND id IN ({ids})")
        previous = () if limit else catalogue.locations(f"source = {quote(source)}")
        cards = [card for card in cards if card.id not in from_hub]
        _store(catalogue, cards, previous, origin=f"that {source} knows")


def _crawl_folder(file: Path | None, source: str, limit: int | None) -> None:
    from zoo.sources import folder
    from zoo.sources.layout import find_models

    root = folder.small_zoo() if source == "small" else Path(source).expanduser()
    if not os.path.exists(root):  # also where the name is too long to be one
        raise UserError(
            f"no folder {source}; --source is hub, timm, small, or a FOLDER with one sub-folder a"
            " model"
        )
    root = root.resolve()
    models = find_models(root)  # raises UserError before there is a catalogue
    kind = "small" if source == "small" else "folder"
    with Catalogue.open(file, write=True) as catalogue:
        own = catalogue.locations(f"source = {quote(kind)}")
        previous = {model for model, location in own.items() if _lies_in(location, root)}
        cards = folder.cards_of(
            models,
            kind,
            taken=_same_names(catalogue, models) - previous,
            ids={Path(own[model] or ""): model for model in previous},
        )
        chosen = list(itertools.islice(cards, limit))
        _print_numbered(chosen, models, root)
        _store(catalogue, chosen, () if limit else previous, origin=f"in {root}")


def _same_names(catalogue: Catalogue, models: Iterable[ModelFolder]) -> set[str]:
    """The ids in the catalogue that could be one of ``models``', or become one by a number."""
    from zoo.sources.folder import preferred_id

    owners = {preferred_id(model).partition("/")[0] for model in models}
    listed = ", ".join(quote(owner) for owner in sorted(owners))
    same = catalogue.locations(
        f"source <> 'hub' OR id NOT LIKE '%/%' OR split_part(id, '/', 1) IN ({listed})"
    )
    return set(same)


def _lies_in(location: str | None, root: Path) -> bool:
    """Whether a crawl of ``root`` looks at ``location``."""
    from zoo.sources.layout import DEEPEST

    if location is None or not Path(location).is_relative_to(root):
        return False
    return len(Path(location).relative_to(root).parts) <= DEEPEST


def _store(
    catalogue: Catalogue,
    cards: Sequence[ModelCard],
    previous: Iterable[str],
    *,
    origin: str,
) -> None:
    """Write ``cards``, remove the ``previous`` ids that are gone, publish, and print a summary."""
    now = utc_now()
    vanished = set(previous) - {card.id for card in cards}
    with catalogue.transaction():
        catalogue.remove(vanished)
        catalogue.upsert(replace(card, indexed_at=now) for card in cards)
    catalogue.publish()
    loadable = sum(bool(card.loadable) for card in cards)
    labelled = sum(card.labels is not None for card in cards)
    summary = (
        f"{len(cards):,} models {origin}: {loadable:,} loadable, {labelled:,} with label names"
    )
    if vanished:
        summary += f"; {len(vanished):,} are gone and were removed"
    print(printable(summary))
    _print_failures([card for card in cards if card.loadable is False])
    print(printable(_location(catalogue)))
    print(
        "next: python -m zoo.query --where loadable --sort params_total, or python -m"
        " selection.rank --task YOUR_FOLDER"
    )


def _print_numbered(cards: Sequence[ModelCard], models: Sequence[ModelFolder], root: Path) -> None:
    """Which folders the ids with a number stand for."""
    from zoo.sources.folder import preferred_id

    numbered = [
        f"{card.id} is {model.path.relative_to(root)}: another model is called"
        f" {preferred_id(model)}"
        for card, model in zip(cards, models, strict=False)
        if card.id != preferred_id(model)
    ]
    for line in numbered[:_NUMBERED_SHOWN]:
        print(printable(line))
    if len(numbered) > _NUMBERED_SHOWN:
        print(f"... and {len(numbered) - _NUMBERED_SHOWN:,} more ids with a number")


def _print_failures(cards: Sequence[ModelCard]) -> None:
    """The first models that cannot be loaded, with the reason."""
    for card in cards[:_FAILURES_SHOWN]:
        print("  " + printable(f"not loadable: {card.id}: {card.not_loadable_reason}"))
    if len(cards) > _FAILURES_SHOWN:
        print(
            f"  ... and {len(cards) - _FAILURES_SHOWN:,} more: python -m zoo.query --where"
            ' "not loadable" --columns id,not_loadable_reason'
        )


def _location(catalogue: Catalogue) -> str:
    return f"catalogue: {catalogue.path} ({catalogue.count():,} models)"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(command_of(CrawlOptions, crawl), argv, name="zoo.crawl")


if __name__ == "__main__":
    raise SystemExit(main())
