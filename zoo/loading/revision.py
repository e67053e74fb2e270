"""At which commit a model's weights are read, and where its files lie in the Hub's cache."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from zoo.card import ModelCard
from zoo.errors import TeacherError, Unavailable
from zoo.files import write_text
from zoo.loading.client import Client, TooLarge, parse
from zoo.loading.weights import weight_files

MAIN = "main"
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


def pinned(
    cards: Sequence[ModelCard],
    *,
    offline: bool = False,
    endpoint: str | None = None,
    cache: Path | None = None,
    wait: float = 1.0,
) -> list[ModelCard]:
    """``cards``, each with the commit at which its weights are read as ``sha``.

    timm's own list names no revisions. Online it is the commit that ``main`` names on the Hub now,
    noted in the Hub's cache as huggingface_hub does; ``offline``, or where the Hub does not answer,
    the commit of the copy on this machine. A card of which neither is known stays as it is.
    """
    unpinned = {card.id: card for card in cards if _lacks_commit(card)}
    if not unpinned:
        return list(cards)
    online = not (offline or offline_by_environment())
    client = Client(endpoint, wait=wait) if online else None
    commits = _Commits(client, cache).of(list(unpinned.values()))
    return [replace(card, sha=commits.get(card.id, card.sha)) for card in cards]


def _lacks_commit(card: ModelCard) -> bool:
    if card.sha is not None or card.source in ("folder", "small"):
        return False
    try:
        repository(card)
    except TeacherError:
        return False
    return True


class _Commits:
    """The commit of ``main`` of many repositories, by as few requests as are needed."""

    def __init__(self, client: Client | None, cache: Path | None) -> None:
        self.client, self.cache = client, cache
        self._silent = threading.Event()  # the Hub does not answer: it is asked no more

    def of(self, cards: Sequence[ModelCard]) -> dict[str, str]:
        """Id of the card -> commit, where it is known."""
        repos = {card.id: repository(card) for card in cards}
        listed = self._listed(repos.values())
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="commits") as pool:
            commits = pool.map(lambda repo: self._commit(repo, listed), repos.values())
            by_id = dict(zip(repos, commits, strict=True))
        return {model: commit for model, commit in by_id.items() if commit is not None}

    def _commit(self, repo: str, listed: Mapping[str, str]) -> str | None:
        commit = listed.get(repo) or self._on_the_hub(repo)
        if commit is None:
            return _local_commit(repo, self.cache)
        ref = _cache_folder(repo, self.cache) / "refs" / MAIN
        if not ref.is_file() or ref.read_text() != commit:
            write_text(ref, commit)
        return commit

    def _on_the_hub(self, repo: str) -> str | None:
        from huggingface_hub.errors import HfHubHTTPError

        if self.client is None or self._silent.is_set():
            return None
        try:
            return str(model_info(self.client, repo, MAIN)["sha"])
        except Unavailable:
            self._silent.set()
        except (HfHubHTTPError, TooLarge, TeacherError):
            pass  # loading the model meets the same fault and reports it
        return None

    def _listed(self, repos: Iterable[str]) -> dict[str, str]:
        """The commits of the repositories of authors with many: one request for 1,000 of them."""
        authors = Counter(repo.partition("/")[0] for repo in repos if "/" in repo)
        commits: dict[str, str] = {}
        for author, count in authors.items():
            if self.client is not None and count >= _MANY:
                commits |= dict(self._listing(self.client, author))
        return commits

    def _listing(self, client: Client, author: str) -> Iterator[tuple[str, str]]:
        from huggingface_hub.errors import HfHubHTTPError

        query = urlencode({"author": author, "limit": 1_000, "expand": "sha"})
        url: str | None = f"{client.endpoint}/api/models?{query}"
        seen: set[str] = set()
        try:
            while url is not None and url not in seen:
                seen.add(url)
                page = client.get(url, kind="api", cap=_INFO_CAP, check=lambda r: parse(r.body))
                rows = page.value if isinstance(page.value, list) else []
                for row in rows:
                    if isinstance(row, dict) and _is_commit(row.get("sha")):
                        yield str(row.get("id")), row["sha"]
                url = client.rebase(page.next) if page.next else None
        except Unavailable:
            self._silent.set()
        except (HfHubHTTPError, TooLarge):
            return  # they are asked for one by one


def model_info(client: Client, repo: str, revision: str) -> dict[str, Any]:
    """The Hub's record of one revision; its ``sha`` is sure to be a commit, nothing else is."""
    address = f"{client.endpoint}/api/models/{repo}/revision/{quote(revision, safe='')}"
    response = client.get(
        f"{address}?blobs=true", kind="api", cap=_INFO_CAP, check=lambda r: parse(r.body)
    )
    info = response.value
    if not isinstance(info, dict) or not _is_commit(info.get("sha")):
        raise TeacherError(f"{repo}: the Hub names no revision")
    return info


def _local_commit(repo: str, cache: Path | None) -> str | None:
    """The commit of the copy in the Hub's cache: that of ``main``, else the newest complete one."""
    folder = cached(repo, MAIN, cache=cache)
    if folder is not None:
        return folder.name
    snapshots = [
        folder
        for folder in (_cache_folder(repo, cache) / "snapshots").glob("*")
        if _is_commit(folder.name) and cached(repo, folder.name, cache=cache)
    ]
    newest = max(snapshots, key=lambda folder: folder.stat().st_mtime, default=None)
    return newest.name if newest else None


def _cache_folder(repo: str, cache: Path | None) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    root = Path(cache or constants.HF_HUB_CACHE)
    return root / repo_folder_name(repo_id=repo, repo_type="model")


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
