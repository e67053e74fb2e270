"""A model's details from its files on the Hub, by as few requests as they take."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from zoo.errors import TeacherError, Unavailable
from zoo.loading.backbones import backbone
from zoo.loading.client import Client, DamagedResponse, HubResponse, TooLarge, parse
from zoo.loading.weights import INDEX, WEIGHTS, Header, header_length, parse_header, shard_names
from zoo.sources.describe import describe, not_loadable
from zoo.sources.values import first_line
from zoo.terminal.command import printable

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
_JSON_CAP = 8_000_000  # bytes; the names and descriptions of ImageNet-21k take 2 MB
_OF_THE_USER = (401, 403, 407)  # HTTP status of a refusal that another token may change
_HEADER_FIRST = 100_000  # bytes of the weights asked for at first; nearly every header is shorter


class Candidate(NamedTuple):
    """A model as the listing knows it: what decides which of its files are asked for."""

    id: str
    sha: str
    pipeline_tag: str | None = None
    weight_format: str | None = None
    datasets: Sequence[str] | None = None


class Details(NamedTuple):
    """``fields`` of the catalogue (always with ``detail_state``) and the raw ``files`` they came
    from, by name.
    """

    fields: dict[str, Any]
    files: dict[str, str]


def fetch(client: Client, candidate: Candidate) -> Details:
    """The details of one revision; a fault of the model is ``detail_state = 'failed'`` with its
    reason.

    Asked for, in this order: config.json always; preprocessor_config.json of vision models of
    transformers; the header of model.safetensors where a listing and the config leave something
    open. (A tokenizer's own maximum length is read when it is loaded: a request for each of so many
    text models is too much.) Raises ``Unavailable`` where the Hub does not answer: then nothing is
    known of the model, and the next run asks again.
    """
    repository = _Repository(client, candidate)
    try:
        fields = _described(repository, candidate)
    except _Faulty as fault:
        reason = printable(fault, 500)
        fields = {
            "detail_state": "failed",
            "detail_error": reason,
            "loadable": False,
            "not_loadable_reason": reason,
        }
    return Details(fields, repository.files)


class _Faulty(Exception):
    """The model itself is at fault; asking again would not help."""


def _described(repository: _Repository, candidate: Candidate) -> dict[str, Any]:
    config = repository.json(CONFIG)
    if config is None:
        raise _Faulty("the repository has no config.json")
    if not isinstance(config, Mapping):
        raise _Faulty(f"config.json holds a {type(config).__name__}, an object is expected")
    vision = _vision(candidate, config)
    processor = repository.json(PROCESSOR) if vision and "architecture" not in config else None
    header, reason = None, None
    if candidate.weight_format not in (None, "safetensors"):
        reason = f"no safetensors weights ({candidate.weight_format} only)"
    elif vision or not _named(config):
        try:
            header = repository.header()
        except TeacherError as error:
            reason = str(error)
    fields = describe(
        config,
        processor=processor,
        weights=header,
        datasets=candidate.datasets,
        card={"id": candidate.id},
    )
    return not_loadable(fields, reason) if reason else fields


def _vision(candidate: Candidate, config: Mapping[str, Any]) -> bool:
    """Whether an input pipeline and a head are worth a request: everything but what is plainly of
    text.
    """
    architecture = first_line(config.get("architectures"))
    return (
        str(candidate.pipeline_tag).startswith(("image", "zero-shot-image"))
        or isinstance(config.get("architecture"), str)
        or backbone(architecture) is not None
        or str(architecture).endswith("ForImageClassification")
    )


def _named(config: Mapping[str, Any]) -> bool:
    """Whether the config names its classes; of a text classifier the head's shape then tells
    nothing new.
    """
    names = config.get("id2label")
    return isinstance(names, Mapping) and any(
        str(name) != f"LABEL_{key}" for key, name in list(names.items())[:10]
    )


class _Repository:
    """One revision on the Hub; ``files`` keeps the small files that were read, by name."""

    def __init__(self, client: Client, candidate: Candidate) -> None:
        self.client, self.id, self.sha = client, candidate.id, candidate.sha
        self.files: dict[str, str] = {}

    def get(
        self,
        name: str,
        *,
        cap: int,
        **how: Any,
    ) -> HubResponse | None:
        """One file, ``None`` where there is none of that name."""
        from huggingface_hub import errors

        try:
            return self.client.get(
                self.client.file_url(self.id, self.sha, name),
                kind="files",
                cap=cap,
                **how,
            )
        except errors.GatedRepoError:
            raise _Faulty(
                f"gated: accept its terms at {self.client.endpoint}/{self.id}, sign in with `hf"
                " auth login`"
            ) from None
        except errors.RevisionNotFoundError:
            raise _Faulty(f"revision {self.sha[:12]} is gone; crawl again with --update") from None
        except errors.RepositoryNotFoundError:
            raise _Faulty("no longer on the Hub, or private") from None
        except errors.EntryNotFoundError:
            return None
        except errors.DisabledRepoError:
            raise _Faulty("disabled on the Hub") from None
        except errors.HfHubHTTPError as error:
            status = error.response.status_code
            if status in _OF_THE_USER:  # a token that ran out says nothing of the model
                raise Unavailable(
                    f"the Hub refuses {name} of {self.id} (HTTP {status}); is the token of this"
                    " machine still valid? `hf auth login` renews it, `hf auth logout` goes on"
                    " without"
                ) from None
            raise _Faulty(f"the Hub refuses {name} (HTTP {status})") from None
        except TooLarge as error:
            raise _Faulty(f"{name}: {error}") from None

    def json(self, name: str) -> Any:
        """A small JSON file, kept raw; its digest is compared with the one that the Hub gives in
        its ETag.
        """
        answer = self.get(name, cap=_JSON_CAP, check=_whole)
        if answer is None:
            return None
        try:
            value = parse(answer.body)
        except DamagedResponse:
            raise _Faulty(f"{name} is no JSON") from None
        except TooLarge as error:
            raise _Faulty(f"{name}: {error}") from None
        self.files[name] = answer.body.decode("utf-8", "replace")
        return value

    def header(self) -> Header | None:
        """The header of the weights, ``None`` for weights in shards; ``TeacherError`` says why
        there is neither.
        """
        answer = self._beginning_of_weights(_HEADER_FIRST)
        if answer is None:
            index = self.json(INDEX)
            if index is None:
                raise TeacherError("no safetensors weights")
            shard_names(index)
            return None
        end = 8 + header_length(answer.body)
        if len(answer.body) < min(end, _file_bytes(answer)):
            answer = self._beginning_of_weights(end)
            if answer is None:
                raise TeacherError(f"{WEIGHTS} vanished while it was read")
        if len(answer.body) < end:
            raise TeacherError(
                f"the weights are cut off: the header alone should have {end - 8:,} bytes"
            )
        return parse_header(answer.body[8:end], file_bytes=_file_bytes(answer))

    def _beginning_of_weights(self, size: int) -> HubResponse | None:
        """The first ``size`` bytes of the weights, or fewer once the header is whole."""
        return self.get(WEIGHTS, cap=size, first=size, enough=_has_header)


def _whole(answer: HubResponse) -> None:
    import hashlib

    tag = answer.headers.get("etag", "").removeprefix("W/").strip('"')
    digest = hashlib.sha1(b"blob %d\0" % len(answer.body) + answer.body).hexdigest()
    if re.fullmatch(r"[0-9a-f]{40}", tag) and tag != digest:
        raise DamagedResponse("the file arrived with another digest than the Hub gives")


def _has_header(body: bytearray) -> bool:
    """Whether the header is complete, or claims more than anybody should read."""
    try:
        return len(body) >= 8 and len(body) >= 8 + header_length(bytes(body[:8]))
    except TeacherError:
        return True


def _file_bytes(answer: HubResponse) -> int:
    """The size of the whole file, from the answer to a range of it."""
    length = answer.headers.get("content-length", "")
    if answer.status == 206:
        length = answer.headers.get("content-range", "").rpartition("/")[2]
    if not length.isdecimal():
        raise TeacherError("the Hub does not say how large the weights are")
    return int(length)
