"""A model's files on this machine: config and safetensors only, complete, digests compared."""

from __future__ import annotations

import errno
import hashlib
import re
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zoo.card import ModelCard
from zoo.errors import TeacherError, Unavailable
from zoo.files import load_json, regular_file
from zoo.loading.client import Client
from zoo.loading.inputs.preprocessing import read_json
from zoo.loading.inputs.tokenization import (
    SETTINGS,
    TOKENIZER_FILES,
    is_text_config,
    missing_tokenizer,
)
from zoo.loading.revision import (
    MAIN,
    cached,
    content_revision,
    model_info,
    offline_by_environment,
    pinned,
    reach_of,
    repository,
)
from zoo.loading.weights import INDEX, WEIGHTS, shard_names, weight_files

_SIDE_FILES = ("config.json", "preprocessor_config.json")
_TRIES = 6
_SPARE = 64_000_000  # bytes left free beside the download


class RemoteFile(NamedTuple):
    """A file of a repository.

    ``digest`` is the sha256 of a large file, or git's blob id of a small one.
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
    """The local folder with ``config.json`` and the safetensors weights of ``card``.

    A card of a folder is its own folder, whose content must be that of the crawl. A card of the
    Hub (or of timm, whose weights lie there) comes through huggingface_hub's cache at ``card.sha``,
    or at the commit that ``pinned`` finds: complete files are never asked for again, a cut download
    goes on where it stopped, digests are compared with the Hub's, and free space is checked first.
    ``offline`` (or HF_HUB_OFFLINE) makes no network call: what is not complete here is an error.
    Raises ``TeacherError``.
    """
    if card.source in ("folder", "small"):
        return _unchanged(card, _model_folder(card))
    offline = offline or offline_by_environment()
    repo = repository(card)
    [card] = pinned(
        [card],
        offline=offline,
        endpoint=endpoint,
        cache=cache,
        wait=wait,
    )
    revision = card.sha or MAIN
    folder = cached(repo, revision, cache=cache)
    if folder is not None and (offline or not _lacks_tokenizer(folder)):
        return folder
    if offline:
        raise TeacherError(
            f"{card.id} at {revision[:12]} is not complete on this machine and --offline asks"
            " nothing of the network; run once without it"
        )
    return _Download(
        repo,
        endpoint=endpoint,
        cache=cache,
        wait=wait,
    ).run(revision)


def _lacks_tokenizer(folder: Path) -> bool:
    """Whether the copy of a text model was made by something that did not want its tokenizer."""
    return is_text_config(read_json(folder / "config.json")) and bool(
        missing_tokenizer(path.name for path in folder.iterdir())
    )


def is_local(card: ModelCard, *, cache: Path | None = None) -> bool:
    """Whether ``fetch`` would need no network; itself makes no network call."""
    try:
        if card.source in ("folder", "small"):
            _model_folder(card)  # whether it is unchanged takes a look at all of it
        else:
            fetch(card, offline=True, cache=cache)
    except TeacherError:
        return False
    return True


def _model_folder(card: ModelCard) -> Path:
    folder = Path(card.location or "")
    if not card.location or not (folder / "config.json").is_file():
        raise TeacherError(
            f"{card.location or card.id} holds no config.json; was the folder moved? Crawl it again"
        )
    return folder


def _unchanged(card: ModelCard, folder: Path) -> Path:
    """``folder`` if config and weights are those of the card's revision; ``TeacherError`` if not.

    What was computed is kept by revision: other weights under the same one would be believed for
    ever. Where no revision is known, links have to stay inside the folder (of a snapshot in the
    Hub's cache: inside its repository), as in a crawl.
    """
    config = folder / "config.json"
    if card.sha is None:
        for file in (config, *folder.glob("*.safetensors*")):
            regular_file(file, reach_of(folder).resolve())
        return folder
    try:
        revision = content_revision([config, *weight_files(folder)])
    except OSError as error:
        raise TeacherError(f"{card.id} cannot be read: {error.strerror or error}") from None
    if revision != card.sha:
        raise TeacherError(
            f"{card.id} changed since the crawl: crawl its folder again (python -m zoo.crawl"
            f" --source {shlex.quote(str(folder.parent))})"
        )
    return folder


def remote_files(info: Mapping[str, Any]) -> dict[str, RemoteFile]:
    """The plain files of the top folder in a Hub record with blobs; odd entries are left out."""
    siblings = info.get("siblings")
    if not isinstance(siblings, list):
        return {}
    files = [_remote_file(sibling) for sibling in siblings if isinstance(sibling, dict)]
    return {file.name: file for file in files if file is not None}


def _remote_file(sibling: Mapping[str, Any]) -> RemoteFile | None:
    """One entry; sub-folders, absolute paths and ``..`` are never needed."""
    name, lfs, size = sibling.get("rfilename"), sibling.get("lfs"), sibling.get("size")
    if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]{0,254}", name):
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        size = None
    digest = lfs.get("sha256") if isinstance(lfs, dict) else sibling.get("blobId")
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", digest):
        digest = None
    return RemoteFile(name, size, digest)


class _Download:
    """The files of one repository into the cache."""

    def __init__(
        self,
        repo: str,
        *,
        endpoint: str | None,
        cache: Path | None,
        wait: float,
    ) -> None:
        from huggingface_hub import constants

        self.repo, self.cache, self.wait = repo, Path(cache or constants.HF_HUB_CACHE), wait
        self.client = Client(endpoint, wait=wait)

    def run(self, revision: str) -> Path:
        """The snapshot folder; every fault is a ``TeacherError`` with the reason for its row."""
        try:
            info = model_info(self.client, self.repo, revision)
            sha, files = info["sha"], remote_files(info)
            weights = self._weights(sha, files)
            self._check_space(sha, [files[name] for name in weights])
            names = (*_SIDE_FILES, *self._tokenizer(sha, files), *weights)
            wanted = [files[name] for name in names if name in files]
            self._check_space(sha, wanted)
            return [self._file(sha, file) for file in wanted][-1].parent
        except TeacherError:
            raise
        except Exception as error:  # noqa: BLE001 - every fault of one model is its row's reason
            raise TeacherError(self._reason(error, revision)) from None

    def _tokenizer(self, sha: str, files: Mapping[str, RemoteFile]) -> tuple[str, ...]:
        """The names of the tokenizer's files; none where it is no text model."""
        if not is_text_config(read_json(self._file(sha, files["config.json"]))):
            return ()
        missing = missing_tokenizer(files)
        if missing:
            raise TeacherError(f"{self.repo}: {missing}")
        present = next(names for names in TOKENIZER_FILES if files.keys() >= set(names))
        return (SETTINGS, *present)

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

    def _in_cache(self, sha: str, file: RemoteFile) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(
            self.repo,
            file.name,
            cache_dir=self.cache,
            revision=sha,
        )
        return Path(path) if isinstance(path, str) else None

    def _check_space(self, sha: str, files: Iterable[RemoteFile]) -> None:
        needed = sum(file.size or 0 for file in files if self._in_cache(sha, file) is None)
        folders = (self.cache, *self.cache.absolute().parents)
        folder = next(each for each in folders if each.exists())
        free = shutil.disk_usage(folder).free
        if needed and needed + _SPARE > free:
            raise TeacherError(
                f"{self.repo} needs {needed / 1e6:,.0f} MB and {folder} has {free / 1e6:,.0f} MB"
                " free; make room, or set HF_HOME to a larger disk"
            )

    def _file(self, sha: str, file: RemoteFile) -> Path:
        """The path of one file in the cache; a file that has to come is compared with its digest.

        huggingface_hub resumes a body that broke off, but does not repeat a request that the server
        failed (5xx), nor does it compare digests.
        """
        path = self._in_cache(sha, file)
        if path is not None:
            return path
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(min(self.wait * 2 ** (attempt - 1), 30 * self.wait))
            try:
                return self._downloaded(sha, file)
            except Exception as error:
                if attempt == _TRIES - 1 or not _may_pass(error):
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _downloaded(self, sha: str, file: RemoteFile) -> Path:
        from huggingface_hub import hf_hub_download

        path = Path(
            hf_hub_download(
                self.repo,
                file.name,
                revision=sha,
                cache_dir=self.cache,
                endpoint=self.client.endpoint,
                token=self.client.credentials.token or False,
            )
        )
        if file.digest is not None and _digest_of(path, file.digest) != file.digest:
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise _WrongDigest(
                f"{self.repo}: {file.name} arrived with another digest than the Hub lists"
            )
        return path

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
        offline = isinstance(error, errors.LocalEntryNotFoundError)
        if isinstance(error, errors.EntryNotFoundError) and not offline:
            return f"{self.repo}: a file that the Hub lists is missing there"
        return f"{self.repo}: the download failed ({type(error).__name__}: {str(error)[:300]})"


class _WrongDigest(TeacherError):
    """A file that arrived is not the one that the Hub lists; another attempt may bring it."""


def _digest_of(path: Path, like: str) -> str:
    """The digest of a file in the form of ``like``: sha256 (64 digits), or git's blob id (40)."""
    if len(like) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: digest).hexdigest()


def _may_pass(error: Exception) -> bool:
    """Whether another attempt can help."""
    from huggingface_hub import errors

    if isinstance(error, (_WrongDigest, errors.LocalEntryNotFoundError)):
        return True  # the latter is what huggingface_hub makes of any fault of the connection
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return status in (408, 429) or status >= 500
    lasting = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
    return not (isinstance(error, OSError) and error.errno in lasting)
