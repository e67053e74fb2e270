"""A task that the ``datasets`` library fetches from the Hub, without any code from there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from selection.sources.folder import SPLITS
from selection.sources.images import CorruptImage
from selection.sources.parquet import to_labels
from selection.sources.split import Part, Rows, spread
from zoo.errors import Unavailable, UserError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SPEC = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")


class HubImages:
    """The image column of one split of a Hub dataset."""

    def __init__(
        self,
        dataset: Any,
        column: str,
        split: str,
    ) -> None:
        self._dataset = dataset
        self._column = column
        self._split = split

    def __len__(self) -> int:
        return len(self._dataset)

    def raw(self, row: int) -> bytes:
        value = self._dataset[row][self._column]
        if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
            return bytes(value["bytes"])
        if isinstance(value, dict) and value.get("path"):
            try:
                return Path(value["path"]).read_bytes()
            except OSError as error:
                raise CorruptImage(error.strerror or type(error).__name__) from error
        raise CorruptImage("the row holds no image bytes")

    def name(self, row: int) -> str:
        return f"{self._split}#{row}"

    def stamp(self, rows: Rows) -> Iterator[bytes]:
        yield rows.tobytes()
        for i in spread(len(rows)):
            try:
                yield self.raw(int(rows[i]))
            except CorruptImage:
                yield b""


class HubDataset(NamedTuple):
    """The parts of a Hub dataset by split name, and the commit they were read at.

    ``revision`` is None where the library does not say.
    """

    parts: dict[str, Part]
    revision: str | None


def read(spec: str, revision: str | None = None, *, offline: bool = False) -> HubDataset:
    """Read the Hub dataset ``org/name`` or ``org/name:config``, at the commit ``revision``.

    Without ``revision`` it is the newest. ``offline`` reads what ``datasets`` keeps on this machine
    and asks nothing of the network. ``UserError`` where only another revision is at hand offline.
    """
    if not _SPEC.fullmatch(spec):
        raise UserError(
            f"'hf:{spec}' names no Hub dataset; expected hf:org/name or hf:org/name:config"
        )
    path, _, config = spec.partition(":")
    if Path(path).exists():  # the library would quietly prefer it
        raise UserError(
            f"a local folder {path!r} stands where the Hub dataset was meant; give --task {path} to"
            " use it"
        )
    loaded = _load(path, config or None, revision, offline=offline)
    at = _revision(next(iter(loaded.values())))
    if revision is not None and at not in (None, revision):
        raise UserError(
            f"hf:{spec} is on this machine at revision {at}, and {revision} is wanted; leave out"
            " --offline to fetch that, or rank again"
        )
    kinds = {name: SPLITS.get(str(name).lower()) for name in loaded}
    if "train" not in kinds.values():
        if len(loaded) != 1:
            raise UserError(
                f"hf:{spec} has no split 'train' (it has: {', '.join(map(str, loaded))})"
            )
        kinds = dict.fromkeys(kinds, "train")
    parts = {
        kind: _part(loaded[name], str(name), spec)
        for name, kind in kinds.items()
        if kind is not None
    }
    return HubDataset(parts, at or revision)


def _revision(dataset: Any) -> str | None:
    """The Hub commit that ``dataset`` was read at, as its addresses or its folder name it."""
    addresses = " ".join(dataset.info.download_checksums or ())
    folders = [Path(file["filename"]).parent.name for file in dataset.cache_files]
    commit = re.search(r"@([0-9a-f]{40})/", addresses)
    if commit:
        return commit.group(1)
    return next((name for name in folders if _COMMIT.fullmatch(name)), None)


@contextmanager
def _offline_libraries() -> Iterator[None]:
    """Keep both libraries from the network in this context: they know no argument for that."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _load(
    path: str,
    config: str | None,
    revision: str | None,
    *,
    offline: bool,
) -> Any:
    import datasets

    switched_off = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    try:
        with _offline_libraries() if offline or switched_off else nullcontext():
            return datasets.load_dataset(path, config, revision=revision)
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError, OSError) as error:
        mend = "check the name and the connection"
        if offline:
            mend = "--offline reads only what is on this machine, run once without it"
        raise Unavailable(
            f"the dataset hf:{path} could not be fetched ({str(error).splitlines()[0]}); {mend},"
            " or give a local folder"
        ) from error
    except (ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"the dataset hf:{path} cannot be used: {str(error).splitlines()[0]}"
        ) from error


def _part(dataset: Any, split: str, spec: str) -> Part:
    import datasets

    features = dataset.features
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [name for name in ("label", "labels", "class") if name in features]
    labels += [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if not images or not labels:
        raise UserError(f"hf:{spec} has no image and label column (it has: {', '.join(features)})")
    values = dataset.select_columns(labels[:1]).with_format("arrow")[:].column(0)
    names = getattr(features[labels[0]], "names", None)
    numbers, classes = to_labels(values, names, f"hf:{spec}")
    source = HubImages(
        dataset.select_columns(images[:1]).cast_column(images[0], datasets.Image(decode=False)),
        images[0],
        split,
    )
    return Part(source, numbers, classes)
