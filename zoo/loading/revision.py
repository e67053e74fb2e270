"""At which commit a model's weights are read, and where its files lie in the Hub's cache."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from zoo.card import ModelCard
from zoo.errors import TeacherError, Unavailable
from zoo.loading.client import Client, TooLarge, parse
from zoo.loading.pages import PAGE_ROWS, Refused, pages
from zoo.loading.weights import weight_files

MAIN = "main"
CACHED = re.compile(r"models--[\w.-]+")  # a repository's folder in the Hub's cache
_INFO_CAP = 32_000_000  # bytes
_WORKERS = 8
_MANY = 50  # cards of one author from which on their commits are read from a listing


def repository(card: ModelCard) -> str:
    """The Hub id of ``card``; ``TeacherError`` where it could not be one."""
    repo = card.location or card.id
    well_formed = re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", repo)
    if not well_formed or ".." in repo or len(repo) > 200:
        raise TeacherError(f"{repo[:80]!r} is not a Hub id (expected name or owner/name)")
    return repo


def cached(repo: str, revision: str, *, cache: Path | None = None) -> Path | None:
    """The complete snapshot folder in the Hub's cache, or ``None``; no network call."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repo, "config.json", cache_dir=cache, revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if _has_weights(folder) else None


def reach_of(folder: Path) -> Path:
    """The folder that links in the model folder ``folder`` may not leave where no source is known:
    the repository of a snapshot in the Hub's cache, else ``folder`` itself.
    """
    snapshots = folder.parent
    if snapshots.name == "snapshots" and CACHED.fullmatch(snapshots.parent.name):
        return snapshots.parent
    return folder


def content_revision(files: Iterable[Path]) -> str:
    """The revision of a model in a folder: 40 hex digits of the sha256 over its config and weights.

    Raises ``OSError`` where a file cannot be read. A file that stays as it is is read once in a
    process, about half a gigabyte a second.
    """
    return _content_revision(tuple((path, _state(path)) for path in files))


def _state(path: Path) -> tuple[int, ...]:
    """What changes with the content of a file: size, times, place on the disk."""
    state = path.stat()
    return (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_dev, state.st_ino)


@lru_cache(maxsize=10_000)
def _content_revision(files: tuple[tuple[Path, tuple[int, ...]], ...]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for path, _ in files:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()[:40]


def pinned(
    cards: Sequence[ModelCard],
    *,
    offline: bool = False,
    endpoint: str | None = None,
    cache: Path | None = None,
    wait: float = 1.0,
) -> list[ModelCard]:
    """``cards``, each with the commit at which its weights are read as ``sha``.

    timm's own list names no revisions. Online it is the commit that ``main`` names on the Hub now;
    ``offline``, or where the Hub does not answer, the commit of the newest copy on this machine. A
    card of which neither is known stays as it is.
    """
    repos = {card.id: repository(card) for card in cards if _lacks_commit(card)}
    commits: dict[str, str | None] = {}
    if repos and not (offline or offline_by_environment()):
        commits |= _hub_commits(Client(endpoint, wait=wait), repos.values())
    for repo in repos.values():
        commits[repo] = commits.get(repo) or _local_commit(repo, cache)
    return [
        replace(card, sha=commits[repos[card.id]]) if card.id in repos else card for card in cards
    ]


def _lacks_commit(card: ModelCard) -> bool:
    if card.sha is not None or card.source in ("folder", "small"):
        return False
    try:
        repository(card)
    except TeacherError:
        return False
    return True


def _hub_commits(client: Client, repos: Iterable[str]) -> dict[str, str]:
    """The commit of ``main`` of each repository, as far as the Hub tells it."""
    from concurrent.futures import ThreadPoolExecutor

    commits: dict[str, str] = {}
    authors = Counter(repo.partition("/")[0] for repo in repos)
    try:
        for author, count in authors.items():
            if count >= _MANY:
                commits |= _listed_commits(client, author)
        missing = [repo for repo in repos if repo not in commits]
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="commits") as pool:
            mapped = pool.map(partial(_commit, client), missing)
            for repo, commit in zip(missing, mapped, strict=True):
                if commit is not None:
                    commits[repo] = commit
    except Unavailable:
        pass  # the copies on this machine serve
    return commits


def _listed_commits(client: Client, author: str) -> dict[str, str]:
    """The commits of an author's repositories: one request for 1,000 of them."""
    query = urlencode({"author": author, "limit": PAGE_ROWS, "expand": "sha"})
    commits: dict[str, str] = {}
    try:
        for page in pages(client, f"{client.endpoint}/api/models?{query}"):
            for row in page.rows:
                if isinstance(row, dict) and _is_commit(row.get("sha")):
                    commits[str(row.get("id"))] = row["sha"]
    except Refused:
        pass  # they are asked for one by one
    return commits


def _commit(client: Client, repo: str) -> str | None:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return str(model_info(client, repo, MAIN)["sha"])
    except (HfHubHTTPError, TooLarge, TeacherError):
        return None  # loading the model meets the same fault and reports it


def model_info(client: Client, repo: str, revision: str) -> dict[str, Any]:
    """The Hub's record of one revision; its ``sha`` is sure to be a commit, nothing else is."""
    address = f"{client.endpoint}/api/models/{repo}/revision/{quote(revision, safe='')}"
    response = client.get(
        f"{address}?blobs=true",
        kind="api",
        cap=_INFO_CAP,
        check=lambda r: parse(r.body),
    )
    info = response.value
    if not isinstance(info, dict) or not _is_commit(info.get("sha")):
        raise TeacherError(f"{repo}: the Hub names no revision")
    return info


def _local_commit(repo: str, cache: Path | None) -> str | None:
    """The commit of the newest complete copy in the Hub's cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    name = repo_folder_name(repo_id=repo, repo_type="model")
    snapshots = Path(cache or constants.HF_HUB_CACHE) / name / "snapshots"
    complete = [
        folder
        for folder in snapshots.glob("?" * 40)  # a commit has 40 digits
        if cached(repo, folder.name, cache=cache)
    ]
    newest = max(complete, key=lambda folder: folder.stat().st_mtime, default=None)
    return newest.name if newest else None


def _is_commit(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40}", value) is not None


def _has_weights(folder: Path) -> bool:
    try:
        return bool(weight_files(folder))
    except TeacherError:
        return False


def offline_by_environment() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)
