"""A model's files on this machine: config and safetensors only, complete, with their digests
checked.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from zoo.card import ModelCard
from zoo.errors import TeacherError, Unavailable
from zoo.files import load_json
from zoo.loading.weights import INDEX, WEIGHTS, shard_names, weight_files

_SIDE_FILES = ("config.json", "preprocessor_config.json")
_LIST_CAP = 32_000_000  # bytes
_TRIES = 6
_SPARE = 64_000_000  # bytes left free beside the download


class RemoteFile(NamedTuple):
    """A file of a repository: ``digest`` is the sha256 of a large file, or git's blob id of a small
    one.
    """

    name: str
    size: int | None
    digest: str | None


def fetch(
    card: ModelCard,
    *,
    offline: bool = False,
    endpoint: str | None = None,
    cache: Path | None = None,
    wait: float = 1.0,
) -> Path:
    """The local folder with ``config.json`` and the safetensors weights of ``card``; raises
    ``TeacherError``.

    A card of a folder is its own folder. A card of the Hub (or of timm, whose weights lie there)
    comes through huggingface_hub's cache at ``card.sha``, or ``main`` where the card knows no
    revision: complete files are never asked for again, a cut download goes on where it stopped,
    digests are compared with the Hub's, and free space is checked first. ``offline`` (or
    HF_HUB_OFFLINE) makes no network call: what is not complete here is an error.
    """
    from huggingface_hub import constants

    if card.source in ("folder", "small"):
        return _own_folder(card)
    repo, revision = repository(card), card.sha or "main"
    here = cached(repo, revision, cache=cache)
    if here is not None:
        return here
    if offline or constants.HF_HUB_OFFLINE:
        raise TeacherError(
            f"{card.id} at {revision[:12]} is not complete on this machine and --offline asks"
            " nothing of the network; run once without it"
        )
    return _Download(repo, endpoint=endpoint, cache=cache, wait=wait).run(revision)


def repository(card: ModelCard) -> str:
    """The Hub id of ``card``; ``TeacherError`` where it could not be one."""
    repo = card.location or card.id
    if (
        not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", repo)
        or ".." in repo
        or len(repo) > 200
    ):
        raise TeacherError(f"{repo[:80]!r} is not a Hub id (expected name or owner/name)")
    return repo


def _own_folder(card: ModelCard) -> Path:
    folder = Path(card.location or "")
    if not card.location or not (folder / "config.json").is_file():
        raise TeacherError(
            f"{card.location or card.id} holds no config.json; was the folder moved? Crawl it again"
        )
    return folder


def is_local(card: ModelCard, *, cache: Path | None = None) -> bool:
    """Whether ``fetch`` would need no network; itself makes no network call."""
    try:
        fetch(card, offline=True, cache=cache)
    except TeacherError:
        return False
    return True


def cached(repo: str, revision: str, *, cache: Path | None = None) -> Path | None:
    """The complete snapshot folder in the Hub's cache, or ``None``; no network call."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, "config.json", cache_dir=cache, revision=revision)
    try:
        return (
            Path(found).parent
            if isinstance(found, str) and weight_files(Path(found).parent)
            else None
        )
    except TeacherError:
        return None


class _Download:
    """One repository's way into the cache."""

    def __init__(self, repo: str, *, endpoint: str | None, cache: Path | None, wait: float) -> None:
        from huggingface_hub import constants

        from zoo.sources.client import Client

        self.repo, self.cache, self.wait = repo, Path(cache or constants.HF_HUB_CACHE), wait
        self.client = Client(endpoint, wait=wait)

    def run(self, revision: str) -> Path:
        try:
            sha, files = self._list(revision)
            wanted = [
                files[name] for name in (*_SIDE_FILES, *self._weights(sha, files)) if name in files
            ]
            self._check_space(sha, wanted)
            return [self._file(sha, file) for file in wanted][-1].parent
        except TeacherError:
            raise
        except Exception as error:  # noqa: BLE001 - every fault of one model is its row's reason
            raise TeacherError(self._reason(error, revision)) from None

    def _list(self, revision: str) -> tuple[str, dict[str, RemoteFile]]:
        """The commit that ``revision`` names and the files of its top folder."""
        from zoo.sources.client import parse

        url = f"{self.client.endpoint}/api/models/{self.repo}/revision/{quote(revision, safe='')}?blobs=true"  # noqa: E501
        info = self.client.get(
            url, kind="api", cap=_LIST_CAP, check=lambda answer: parse(answer.body)
        ).value
        sha = info.get("sha") if isinstance(info, dict) else None
        if not isinstance(sha, str) or not re.fullmatch(r"[0-9a-f]{40}", sha):
            raise TeacherError(f"{self.repo}: the Hub names no revision")
        return sha, remote_files(info)

    def _weights(self, sha: str, files: Mapping[str, RemoteFile]) -> list[str]:
        """The names of the safetensors files."""
        if "config.json" not in files:
            raise TeacherError(f"{self.repo} has no config.json")
        if WEIGHTS in files:
            return [WEIGHTS]
        if INDEX not in files:
            kinds = sorted({name.rsplit(".", 1)[-1][:12] for name in files if "." in name})
            raise TeacherError(
                f"{self.repo} has no safetensors weights (it has:"
                f" {', '.join(kinds[:8]) or 'nothing'})"
            )
        shards = shard_names(load_json(self._file(sha, files[INDEX])))
        missing = [name for name in shards if name not in files]
        if missing:
            raise TeacherError(
                f"{self.repo}: {INDEX} names {missing[0]!r}, which is not in the repository"
            )
        return shards

    def _here(self, sha: str, file: RemoteFile) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repo, file.name, cache_dir=self.cache, revision=sha)
        return Path(found) if isinstance(found, str) else None

    def _check_space(self, sha: str, files: Iterable[RemoteFile]) -> None:
        needed = sum(file.size or 0 for file in files if self._here(sha, file) is None)
        folder = next(
            each for each in (self.cache, *self.cache.absolute().parents) if each.exists()
        )
        free = shutil.disk_usage(folder).free
        if needed and needed + _SPARE > free:
            raise TeacherError(
                f"{self.repo} needs {needed / 1e6:,.0f} MB and {folder} has {free / 1e6:,.0f} MB"
                " free; make room, or set HF_HOME to a larger disk"
            )

    def _file(self, sha: str, file: RemoteFile) -> Path:
        """The path of one file in the cache, downloaded if need be, its digest compared when it
        was.
        """
        from huggingface_hub import hf_hub_download

        here = self._here(sha, file)
        if here is not None:
            return here
        swapped = TeacherError(
            f"{self.repo}: {file.name} arrived with another digest than the Hub lists"
        )
        fault: Exception = swapped
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(min(self.wait * 2 ** (attempt - 1), 30 * self.wait))
            try:
                path = Path(
                    hf_hub_download(
                        self.repo,
                        file.name,
                        revision=sha,
                        cache_dir=self.cache,
                        endpoint=self.client.endpoint,
                    )
                )
            except Exception as error:
                if _lasting(error):
                    raise
                fault = error
                continue
            if file.digest is None or _digest_of(path, file.digest) == file.digest:
                return path
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            fault = swapped
        raise fault

    def _reason(self, error: Exception, revision: str) -> str:
        from huggingface_hub import errors

        if isinstance(error, Unavailable):
            return str(error)
        if isinstance(error, errors.GatedRepoError):
            return (
                f"{self.repo} is gated: sign in with `hf auth login` and accept its terms at "
                f"{self.client.endpoint}/{self.repo}"
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return f"{self.repo} has no revision {revision[:12]} any more; crawl again (--update)"
        if isinstance(error, errors.RepositoryNotFoundError):
            return (
                f"{self.repo} is not on the Hub, or is private: sign in with `hf auth login` if it"
                " is yours"
            )
        if isinstance(error, errors.EntryNotFoundError) and not isinstance(
            error, errors.LocalEntryNotFoundError
        ):
            return f"{self.repo}: a file that the Hub lists is missing there"
        return f"{self.repo}: the download failed ({type(error).__name__}: {str(error)[:300]})"


def remote_files(info: Mapping[str, Any]) -> dict[str, RemoteFile]:
    """The plain files of the top folder in a Hub answer with blobs; anything of an odd form is left
    out.
    """
    siblings, files = info.get("siblings"), {}
    for sibling in siblings if isinstance(siblings, list) else ():
        name = sibling.get("rfilename") if isinstance(sibling, dict) else None
        if (
            not isinstance(name, str)
            or not re.fullmatch(r"[\w.-]{1,255}", name)
            or name.startswith(".")
        ):
            continue  # sub-folders, absolute paths and `..` are never needed
        lfs, size = sibling.get("lfs"), sibling.get("size")
        digest = lfs.get("sha256") if isinstance(lfs, dict) else sibling.get("blobId")
        known = isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", digest)
        whole = isinstance(size, int) and not isinstance(size, bool) and size >= 0
        files[name] = RemoteFile(name, size if whole else None, digest if known else None)
    return files


def _digest_of(path: Path, like: str) -> str:
    """The digest of a file in the form of ``like``: sha256 (64 digits), or git's blob id (40)."""
    digest = (
        hashlib.sha256() if len(like) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    )
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: digest).hexdigest()


def _lasting(error: Exception) -> bool:
    """Whether asking again cannot help."""
    from huggingface_hub import errors

    if isinstance(
        error, errors.LocalEntryNotFoundError
    ):  # what the client makes of any fault of the line
        return False
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return status not in (408, 429) and status < 500
    return isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EACCES,
        errno.EROFS,
    )
