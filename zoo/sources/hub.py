"""The Hugging Face Hub as a source: the listing pass, the details pass, and the published catalogue."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from zoo.catalogue import Catalogue
from zoo.errors import Unavailable, UserError
from zoo.progress import Progress
from zoo.sources.client import Client
from zoo.sources.details import Candidate, Details, fetch
from zoo.sources.ledger import Ledger
from zoo.sources.listing import check_scope, list_models

WORKERS = 8
_BATCH_ROWS = 500  # details written in one transaction, or those of
_BATCH_SECONDS = 5.0
_SILENT = 20  # models in a row without an answer, before the Hub is taken for unreachable


@dataclass
class DetailsPass:
    """What the details pass did: models asked, of them with a fault of their own, not answered; requests sent."""

    models: int = 0
    failed: int = 0
    unanswered: int = 0
    requests: int = 0

    def sentence(self) -> str:
        """The outcome for people."""
        if not self.models:
            return "details: all candidates were known"
        later = f"; {self.unanswered:,} did not answer, run again" if self.unanswered else ""
        return (f"details: {self.models:,} models, {self.failed:,} with a fault (detail_error says which), "
                f"{self.requests / self.models:.2f} requests each{later}")


def crawl(catalogue: Catalogue, *, pipeline_tag: str | None = None, filters: Sequence[str] = (), limit: int | None = None,
          update: bool = False, details: str | None = None, endpoint: str | None = None, client: Client | None = None,
          progress: Progress | None = None) -> list[str]:
    """List the Hub (or what changed), ask the candidates for details, publish; returns the outcome as sentences.

    ``details`` is an SQL expression that chooses the candidates, ``none`` skips them. Every step can be cut at any
    moment and goes on where it was. Raises ``Unavailable`` where the Hub stops answering; what came is kept.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set, so the Hub is not asked; unset it, or crawl --source timm or a FOLDER")
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        raise UserError(f"--endpoint {endpoint}: an address that begins with https:// is expected")
    scope = check_scope(filters, pipeline_tag, limit)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries would break up the progress bar
    client = client or Client(endpoint)
    progress = progress or Progress.live()
    ledger = Ledger(catalogue)
    said = [list_models(ledger, client, scope, update=update, progress=progress).sentence()]
    ledger.merge_details()
    catalogue.publish()  # the listing is worth reading before the details, which may take hours, are there
    if details != "none":
        outcome = ask_details(ledger, client, details, progress=progress)
        said.append(outcome.sentence())
        if outcome.models:
            ledger.merge_details()
            catalogue.publish()
    if client.quota.slept >= 1:
        said.append(f"waited {client.quota.slept:,.0f} s for the Hub's quota; a free account's token doubles it (hf auth login)")
    return said


def ask_details(ledger: Ledger, client: Client, expression: str | None = None, *, workers: int = WORKERS,
                progress: Progress | None = None) -> DetailsPass:
    """Fetch the details of all candidates that lack them, ``workers`` at a time; each revision is asked once.

    Raises ``Unavailable`` where many models in a row got no answer; what came before is saved.
    """
    job, before = DetailsPass(), client.requests["files"]
    candidates = ledger.wanted(expression)
    batch: list[tuple[Candidate, Details]] = []
    silent, saved = 0, time.monotonic()
    with (progress or Progress.silent()).over("details", total=candidates.num_rows) as bar:
        try:
            for candidate, answer in _ask(client, _candidates(candidates), workers):
                if isinstance(answer, Unavailable):
                    job.unanswered, silent = job.unanswered + 1, silent + 1
                    if silent >= _SILENT:
                        raise answer
                    continue
                silent = 0
                batch.append((candidate, answer))
                job.models += 1
                job.failed += answer.fields.get("detail_state") == "failed"
                if len(batch) >= _BATCH_ROWS or time.monotonic() - saved > _BATCH_SECONDS:
                    _save(ledger, batch)
                    batch, saved = [], time.monotonic()
                bar.at(job.models, total=candidates.num_rows, quota=client.quota.left("files"))
        finally:
            _save(ledger, batch)
            job.requests = client.requests["files"] - before
    return job


def _candidates(table: object) -> Iterator[Candidate]:
    for part in table.to_batches(1_000):  # type: ignore[attr-defined]
        yield from (Candidate(**row) for row in part.to_pylist())


def _ask(client: Client, candidates: Iterator[Candidate], workers: int) -> Iterator[tuple[Candidate, Details | Unavailable]]:
    """Every candidate with its answer, in the order of the answers; a few are on their way at a time."""
    running: dict[Future[Details], Candidate] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="details") as pool:
        try:
            while True:
                while len(running) < 2 * workers and (candidate := next(candidates, None)) is not None:
                    running[pool.submit(fetch, client, candidate)] = candidate
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    candidate = running.pop(future)
                    try:
                        yield candidate, future.result()
                    except Unavailable as error:
                        yield candidate, error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _save(ledger: Ledger, batch: Sequence[tuple[Candidate, Details]]) -> None:
    if batch:
        ledger.save_details([(candidate.id, candidate.sha, details.fields) for candidate, details in batch],
                            [(candidate.id, candidate.sha, name, text) for candidate, details in batch
                             for name, text in details.files.items()])


