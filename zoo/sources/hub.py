"""The Hugging Face Hub as a source: the listing pass, then the details pass."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from zoo.catalogue import Catalogue
from zoo.errors import Unavailable, UserError
from zoo.loading.client import Client
from zoo.sources.details import Candidate, Details, fetch
from zoo.sources.ledger import CANDIDATES, Ledger
from zoo.sources.listing import Scope, details_ended, list_models, listing_before_details
from zoo.sources.rows import TEXT_TAGS
from zoo.terminal.command import in_command, resumable
from zoo.terminal.progress import Progress, note

WORKERS = 8
_BATCH = 100  # models whose details are written in one transaction: what a kill can lose
_SILENT = 20  # models in a row without an answer, before the Hub is taken for unreachable


@dataclass
class DetailsPass:
    """How many models have details now, how many of them are at fault, how many did not answer."""

    models: int = 0
    failed: int = 0
    unanswered: int = 0

    def sentence(self) -> str:
        """The outcome for people."""
        if not self.models and not self.unanswered:
            return "details: all candidates were known"
        later = f"; {self.unanswered:,} did not answer, run again" if self.unanswered else ""
        return (
            f"details: {self.models:,} models, {self.failed:,} with a fault (detail_error says"
            f" which){later}"
        )


def crawl(
    catalogue: Catalogue,
    scope: Scope | None = None,
    *,
    update: bool = False,
    details: str | None = None,
    endpoint: str | None = None,
    token: bool = False,
    client: Client | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """List the Hub (or what changed), ask the candidates for details, publish; returns the outcome
    as sentences.

    ``details`` is an SQL expression that chooses the candidates, ``none`` skips them. ``token``
    sends this machine's token to any ``endpoint`` (see ``Client``). Every step
    can be cut at any moment and goes on where it was. Raises ``Unavailable`` where the Hub stops
    answering; what came is kept.
    """
    _require_online()
    client = client or Client(endpoint, token=token or None)
    if (sentence := client.credentials.sentence(client.endpoint)) and in_command():
        note(sentence)
    scope, ledger = scope or Scope(), Ledger(catalogue)
    if details is None and scope.pipeline_tag in TEXT_TAGS:  # asked for by its tag
        details = f"({CANDIDATES}) OR (gated IS NULL AND pipeline_tag = '{scope.pipeline_tag}')"
    progress = progress or Progress.default()
    if details not in (None, "none"):
        catalogue.count(details)  # raises UserError before the listing takes half an hour
    pending = listing_before_details(ledger, client, scope, update=update)
    if pending is None or details == "none":
        pending = None
        listing = list_models(ledger, client, scope, update=update, progress=progress)
        sentences = [listing.sentence()]
    else:
        sentences = [
            f"{pending.kind} listing: ended {pending.ended[:16]} UTC, goes on with its details"
        ]
    ledger.merge_details()
    # the listing is worth reading before the details, which may take hours, are there
    catalogue.publish()
    outcome = DetailsPass()
    if details != "none":
        outcome = fetch_details(ledger, client, details, progress=progress)
        sentences.append(outcome.sentence())
    if outcome.models:
        ledger.merge_details()
        catalogue.publish()
    # models that did not answer are asked again before the next listing, as long as that helps
    is_stuck = pending is not None and not outcome.models
    if is_stuck or not outcome.unanswered:
        details_ended(ledger, client, scope)
    if client.quota.slept >= 1:
        sentences.append(
            f"waited {client.quota.slept:,.0f} s for the Hub's quota; a free account's token"
            " doubles it (hf auth login)"
        )
    return sentences


def _require_online() -> None:
    """Raise ``UserError`` where the user forbids the network."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UserError(
            "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it, or crawl --source timm or a"
            " FOLDER"
        )


def check_online() -> None:
    """Raise ``UserError`` where the user keeps all tools from the Hub."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UserError(
            "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it, or crawl --source timm or a"
            " FOLDER"
        )


def fetch_details(
    ledger: Ledger,
    client: Client,
    expression: str | None = None,
    *,
    workers: int = WORKERS,
    progress: Progress | None = None,
) -> DetailsPass:
    """Fetch the details of all candidates that lack them, ``workers`` at a time; each revision is
    asked once.

    Raises ``Unavailable`` where many models in a row got no answer; what came before is saved.
    """
    job, silent = DetailsPass(), 0
    candidates = ledger.wanted(expression)
    shown = progress or Progress.default()
    with (
        resumable(lambda: f"the listing and the details of {job.models:,} models are kept"),
        shown.over("details", unit="models", total=candidates.num_rows) as meter,
        _stopping_pool(client, workers) as pool,
    ):
        for rows in candidates.to_batches(_BATCH):
            batch = [Candidate(**row) for row in rows.to_pylist()]
            fetched: list[tuple[str, str, Details]] = []
            try:
                answers = pool.map(partial(_fetched, client), batch)
                for candidate, answer in zip(batch, answers, strict=True):
                    meter.at(meter.done + 1, extra=client.quota.left_text("files"))
                    if isinstance(answer, Details):
                        silent = 0
                        fetched.append((candidate.id, candidate.sha, answer))
                        job.failed += answer.fields["detail_state"] == "failed"
                        continue
                    silent += 1
                    if silent >= _SILENT:
                        raise answer
            finally:
                ledger.save_details(fetched)
                job.models += len(fetched)
            job.unanswered += len(batch) - len(fetched)
    return job


@contextmanager
def _stopping_pool(client: Client, workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that ask ``client``; when the block fails or is stopped, none is waited for."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="details")
    try:
        yield pool
    except BaseException:
        client.stop()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _fetched(client: Client, candidate: Candidate) -> Details | Unavailable:
    try:
        return fetch(client, candidate)
    except Unavailable as error:
        return error
