"""The kind of a task: what its samples are, and all that follows from it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from zoo.card import ModelCard


class CorruptSample(ValueError):
    """A sample that cannot be read; the message is the reason."""


class Decoding(Protocol):
    """How the samples of one task are decoded, where their bytes alone do not say it."""

    @property
    def key(self) -> bytes:
        """What the digest of a sample carries beside its bytes."""
        ...


@dataclass(frozen=True, eq=False)
class CopyGroups:
    """The samples of a task that are copies of each other.

    groups      split name -> (n,) int64: equal numbers for copies of one sample, -1: no other
    unreadable  split name -> position -> why that sample cannot be read
    note        what was not searched, for the user; empty where everything was
    """

    groups: Mapping[str, npt.NDArray[np.int64]]
    unreadable: Mapping[str, Mapping[int, str]]
    note: str = ""


class TaskContent(NamedTuple):
    """What a folder or a file holds: parts by split name, samples without labels, broken links."""

    parts: dict[str, Any]
    unlabelled: list[Any] = []  # noqa: RUF012 - never changed
    broken_links: int = 0


@dataclass(frozen=True)
class Preview:
    """What a page shows of a sample: a small ``picture`` (JPEG or PNG), or else a ``text``."""

    picture: bytes = b""
    text: str = ""

    @property
    def address(self) -> str:
        """The picture as an address that needs no file; empty where there is none."""
        kind = "png" if self.picture.startswith(b"\x89PNG") else "jpeg"
        encoded = base64.b64encode(self.picture).decode()
        return f"data:image/{kind};base64,{encoded}" if encoded else ""


class Join(Protocol):
    """Makes features of a probe's labelled samples of what teachers say of parts of them.

    Both return features (m, D) float32 of the labelled samples among the first n of the probe, and
    their places in it, (m,) int64.
    """

    def __call__(
        self, features: npt.NDArray[np.floating]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """By a teacher's features (n, D_t) of the first n samples."""
        ...

    def own(
        self, card: ModelCard, size: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """By a recommender, which needs no network; n is ``size``. ``TeacherError`` where it cannot
        be read.
        """
        ...


class Completion(NamedTuple):
    """What teachers are asked about beside the drawn samples of a probe.

    samples, names, digests   of the further ones, as of `selection.probe.Probe`
    order                     (N,) int64, places among the drawn samples followed by the further
                              ones
    join                      what makes features of the drawn samples
    """

    samples: Sequence[Any]
    names: Sequence[str]
    digests: Sequence[bytes]
    order: npt.NDArray[np.int64]
    join: Join


def fingerprint_of_bytes(encoded: bytes, decoding: Decoding | None) -> bytes:
    """32 bytes that identify a decoded sample: sha256 of ``encoded`` and the decoding."""
    return hashlib.sha256(encoded + (decoding.key if decoding else b"")).digest()


def _complete(train: Any, drawn: npt.NDArray[np.int64]) -> None:
    return None


def _no_extent(train: Any) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is true of one kind of task and of no other.

    Attributes
    ----------
    name : str
        What ``--kind`` calls it.
    noun, nouns : str
        One sample in words for messages, and several.
    content : str
        What two copies share: a ``picture``, a ``wording``.
    read : callable
        A path, the columns that the user named and a list of sentences for the user -> what lies
        there; None where it holds no samples of this kind.
    read_pool : callable
        The path of ``--unlabelled``, the sources of the task, columns and sentences -> what lies
        there.
    pool_in_files : bool
        Whether ``--unlabelled`` may be a file.
    expected : str
        What ``read`` expects, for messages.
    first_student : str
        The ``--student`` to begin with; empty where it may be left out.
    calibrated : bool
        Whether the accuracy to expect was calibrated on such tasks.
    modalities : tuple of str
        Which teachers can be shown its samples (``ModelCard.modality``).
    ordered : bool
        Whether its classes have an order, as ratings have.
    decode : callable
        The bytes of a sample and the ``Decoding`` of its task -> the sample; ``CorruptSample``.
    show : callable
        The same, as teachers are shown it.
    shown_as : str
        What teachers are shown, in a few words: part of a probe's digest.
    decoding_of : callable
        The training split of a task -> its ``Decoding``; None: the bytes of its samples say all.
    find_copies : callable
        The splits of a task by name -> ``CopyGroups``.
    preview : callable
        A sample -> what a page shows of it.
    equal : callable
        Two or more samples -> whether all are the same to a teacher, and in what words; else None.
    fingerprint : callable
        The bytes of a sample and its ``Decoding`` -> 32 bytes that identify what teachers are
        shown, the key of their stored outputs.
    complete : callable
        The training split and the positions (n,) that a probe drew from it -> ``Completion``; None:
        teachers are asked about the drawn samples alone.
    parts : str
        What teachers are asked about instead of the samples, several in a word; empty where it is
        the samples.
    extent : callable
        The training split -> in what else than samples a task is counted, in a few words.
    on_hub : bool
        Whether ``hf:org/name`` may be such a task.
    crawl : str
        What ``zoo.crawl`` is given to find teachers of such tasks.
    own_teachers : tuple of ModelCard
        Teachers that need no network, of which a ``Join`` has the features.
    """

    name: str
    noun: str
    nouns: str
    content: str
    read: Callable[[Path, Any, list[str]], TaskContent | None]
    read_pool: Callable[[Path, Sequence[Any], Any, list[str]], TaskContent]
    pool_in_files: bool
    expected: str
    first_student: str
    calibrated: bool
    modalities: tuple[str, ...]
    ordered: bool
    decode: Callable[[bytes, Decoding | None], Any]
    show: Callable[[bytes, Decoding | None], Any]
    shown_as: str
    decoding_of: Callable[[Any], Decoding | None]
    find_copies: Callable[[Mapping[str, Any]], CopyGroups]
    preview: Callable[[Any], Preview]
    equal: Callable[[Sequence[Any]], str | None]
    fingerprint: Callable[[bytes, Any], bytes] = fingerprint_of_bytes
    complete: Callable[[Any, npt.NDArray[np.int64]], Completion | None] = _complete
    parts: str = ""
    extent: Callable[[Any], str] = _no_extent
    on_hub: bool = True
    crawl: str = "--source timm"
    own_teachers: tuple[ModelCard, ...] = ()

    @property
    def asked(self) -> str:
        """What teachers are asked about, several in a word."""
        return self.parts or self.nouns

    def count(self, number: int) -> str:
        """``1 image``, ``2,000 images``."""
        return f"{number:,} {self.noun if number == 1 else self.nouns}"
