"""The Hugging Face Hub as a source: the listing pass, the details pass, and the published
catalogue.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from zoo.catalogue import Catalogue
from zoo.errors import Unavailable, UserError
from zoo.loading.client import Client
from zoo.sources.details import Candidate, Details, fetch
from zoo.sources.ledger import Ledger
from zoo.sources.listing import Scope, details_ended, list_models, listing_before_details
from zoo.terminal.progress import Progress

WORKERS = 8
_BATCH = 100  # models whose details are written in one transaction: what a kill can lose
_SILENT = 20  # models in a row without an answer, before the Hub is taken for unreachable


@dataclass
class DetailsPass:
    """What the details pass did: models asked, of them with a fault of their own, not answered;
    requests sent.
    """

    models: int = 0
    failed: int = 0
    unanswered: int = 0
    requests: int = 0

    def sentence(self) -> str:
        """The outcome for people."""
        later = f"; {self.unanswered:,} did not answer, run again" if self.unanswered else ""
        if not self.models:
            return "details: all candidates were known" if not later else f"details: none{later}"
        return (
            f"details: {self.models:,} models, {self.failed:,} with a fault (detail_error says"
            f" which), {self.requests / self.models:.2f} requests each{later}"
        )


def crawl(
    catalogue: Catalogue,
    scope: Scope | None = None,
    *,
    update: bool = False,
    details: str | None = None,
    endpoint: str | None = None,
    client: Client | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """List the Hub (or what changed), ask the candidates for details, publish; returns the outcome
    as sentences.

    ``details`` is an SQL expression that chooses the candidates, ``none`` skips them. Every step
    can be cut at any moment and goes on where it was. Raises ``Unavailable`` where the Hub stops
    answering; what came is kept.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UserError(
            "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it, or crawl --source timm or a"
            " FOLDER"
        )
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        raise UserError(f"--endpoint {endpoint}: an address that begins with https:// is expected")
    client, scope, ledger = client or Client(endpoint), scope or Scope(), Ledger(catalogue)
    progress = progress or Progress.default()
    if details not in (None, "none"):
        catalogue.count(details)  # raises UserError before the listing takes half an hour
    listing = listing_before_details(ledger, client, scope, update=update)
    continued = listing is not None and details != "none"
    if listing is not None and continued:
        sentences = [
            f"{listing.kind} listing: ended {listing.ended[:16]} UTC, goes on with its details"
        ]
    else:
        listing = list_models(ledger, client, scope, update=update, progress=progress)
        sentences = [listing.sentence()]
    ledger.merge_details()
    ended = True
    # the listing is worth reading before the details, which may take hours, are there
    catalogue.publish()
    if details != "none":
        outcome = fetch_details(ledger, client, details, progress=progress)
        sentences.append(outcome.sentence())
        if outcome.models:
            ledger.merge_details()
            catalogue.publish()
        # models that did not answer are asked again before the next listing, as long as that helps
        is_stuck = continued and not outcome.models
        ended = is_stuck or not outcome.unanswered
    if ended:
        details_ended(ledger, client, scope)
    if client.quota.slept >= 1:
        sentences.append(
            f"waited {client.quota.slept:,.0f} s for the Hub's quota; a free account's token"
            " doubles it (hf auth login)"
        )
    return sentences


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
    job, before, silent = DetailsPass(), client.quota.sent["files"], 0
    candidates = ledger.wanted(expression)
    shown = progress or Progress.default()
    with (
        shown.over("details", unit="models", total=candidates.num_rows) as meter,
        ThreadPoolExecutor(workers, thread_name_prefix="details") as pool,
    ):
        for batch in candidates.to_batches(_BATCH):
            asked = [Candidate(**row) for row in batch.to_pylist()]
            fetched: list[tuple[str, str, Details]] = []
            try:
                for candidate, answer in zip(
                    asked, pool.map(lambda each: _fetched(client, each), asked), strict=True
                ):
                    silent = silent + 1 if isinstance(answer, Unavailable) else 0
                    if silent >= _SILENT and isinstance(answer, Unavailable):
                        raise answer
                    if isinstance(answer, Details):
                        fetched.append((candidate.id, candidate.sha, answer))
                    meter.at(job.models + len(fetched), extra=client.quota.left_text("files"))
            finally:
                ledger.save_details(fetched)
            job.models += len(fetched)
            job.unanswered += len(asked) - len(fetched)
            job.failed += sum(details.fields["detail_state"] == "failed" for *_, details in fetched)
    job.requests = client.quota.sent["files"] - before
    return job


def _fetched(client: Client, candidate: Candidate) -> Details | Unavailable:
    try:
        return fetch(client, candidate)
    except Unavailable as error:
        return error
