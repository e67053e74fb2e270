"""A task that the ``datasets`` library reads, from the Hub or a folder, without any code there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from selection.sources.images import CorruptImage
from selection.sources.layouts.split_names import read_name
from selection.sources.split import Part, Rows, class_name, spread
from selection.sources.tables.cells import encoded_image
from selection.sources.tables.columns import Columns, label_column, listed, stored_image_column
from selection.sources.tables.labels import to_labels
from selection.sources.tables.listed_table import NoLabels
from selection.sources.tables.splits import roles
from selection.sources.texts.table import TextTable, is_text_name, parts_of_texts
from zoo.errors import Unavailable, UserError
from zoo.loading.endpoint import endpoint_of

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
        return encoded_image(self._dataset[row][self._column], Path())

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

    ``revision`` is None where the library does not say. ``texts``: the samples are texts.
    """

    parts: dict[str, Part]
    revision: str | None
    texts: bool = False


def read(
    spec: str,
    columns: Columns,
    warnings: list[str],
    revision: str | None = None,
    *,
    offline: bool = False,
    texts: bool | None = None,
) -> HubDataset:
    """Read the Hub dataset ``org/name`` or ``org/name:config``, at the commit ``revision``.

    Without ``revision`` it is the newest. ``offline`` reads what ``datasets`` keeps on this machine
    and asks nothing of the network. ``texts`` says that it is a task of texts, or that it is one of
    images; None: its columns tell. Sentences for the user are added to ``warnings``.
    ``UserError`` where only another revision is at hand offline.
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
    loaded = _load(path, config or None, revision, warnings, offline=offline)
    at = _revision(next(iter(loaded.values())))
    if revision is not None and at not in (None, revision):
        raise UserError(
            f"hf:{spec} is on this machine at revision {at}, and {revision} is wanted; leave out"
            " --offline to fetch that, or rank again"
        )
    origin = f"hf:{spec}"
    if texts is None:
        texts = columns.text is not None or _has_texts(loaded)
    parts = (_text_parts if texts else _parts)(loaded, origin, columns, warnings)
    return HubDataset(parts, at or revision, texts=texts)


def read_saved(folder: Path, columns: Columns, warnings: list[str]) -> dict[str, Part] | None:
    """The parts of a ``Dataset`` or ``DatasetDict`` of images that ``save_to_disk`` wrote.

    None for another folder. Sentences for the user are added to ``warnings``.
    """
    loaded = _saved(folder)
    return None if loaded is None else _parts(loaded, str(folder), columns, warnings)


def read_saved_texts(folder: Path, columns: Columns, warnings: list[str]) -> dict[str, Part] | None:
    """As ``read_saved`` for a dataset of texts; None for one of images too."""
    loaded = _saved(folder)
    if loaded is None or not (columns.text is not None or _has_texts(loaded)):
        return None
    return _text_parts(loaded, str(folder), columns, warnings)


def _saved(folder: Path) -> Mapping[Any, Any] | None:
    names = ("dataset_dict.json", "state.json")
    if not any((folder / name).is_file() for name in names):
        return None
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever a damaged folder makes the library raise
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"{folder} is no dataset that save_to_disk wrote, or it is damaged: {reason}"
        ) from error
    return saved if isinstance(saved, dict) else {str(saved.split or "train"): saved}


def _has_texts(loaded: Mapping[Any, Any]) -> bool:
    """Whether a dataset has a column of texts, and none of images."""
    features = next(iter(loaded.values())).features
    described = {name: _described(kind) for name, kind in features.items()}
    texts = [
        name
        for name, feature in features.items()
        if is_text_name(name) and getattr(feature, "dtype", "") in ("string", "large_string")
    ]
    images = any(spec["_type"] == "Image" for spec in described.values())
    return bool(texts) and not images


def _text_parts(
    loaded: Mapping[Any, Any],
    origin: str,
    columns: Columns,
    warnings: list[str],
) -> dict[str, Part]:
    """The parts of a dataset of texts by split name."""

    def part(split: Any, role: str) -> Part:
        dataset = loaded[split]
        described = {column: _described(feature) for column, feature in dataset.features.items()}
        plain = {
            column: dataset[column][:]
            for column, feature in dataset.features.items()
            if hasattr(feature, "dtype")
        }
        table = TextTable(f"{origin}/{role}", plain, None, described)
        return parts_of_texts(table, columns, warnings, split=role)[role]

    return _by_split(loaded, origin, warnings, part)


def _parts(
    loaded: Mapping[Any, Any],
    origin: str,
    columns: Columns,
    warnings: list[str],
) -> dict[str, Part]:
    """The parts of a dataset of images by split name."""
    return _by_split(
        loaded,
        origin,
        warnings,
        lambda split, _role: _part(loaded[split], str(split), origin, columns),
    )


def _by_split(
    loaded: Mapping[Any, Any],
    origin: str,
    warnings: list[str],
    part: Callable[[Any, str], Part],
) -> dict[str, Part]:
    """``part(split, role)`` of each split by its role; only ``train`` must have labels."""
    parts: dict[str, Part] = {}
    for split, role in _splits(loaded, origin, warnings).items():
        try:
            parts[role] = part(split, role)
        except NoLabels as error:
            if role == "train":
                raise
            warnings.append(f"no {role} split is read: {error}")
    return parts


def _splits(loaded: Mapping[Any, Any], origin: str, warnings: list[str]) -> dict[Any, str]:
    """Which split each of a dataset's is; one split alone is the training split."""
    names = {str(name): name for name in loaded}
    kinds = roles({name: read_name(name).kind for name in names})
    if "train" not in kinds.values():
        if len(names) != 1:
            raise UserError(f"{origin} has no split 'train' (it has: {listed(list(names))})")
        kinds = dict.fromkeys(names, "train")
    unused = [name for name in names if name not in kinds]
    if unused:
        warnings.append(f"splits of {origin} that are not used: {listed(unused)}")
    splits: dict[Any, str] = {}
    for name, kind in kinds.items():
        if kind in splits.values():
            warnings.append(f"{class_name(name)} of {origin} is a second {kind} split, not used")
            continue
        splits[names[name]] = kind
    return splits


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
    warnings: list[str],
    *,
    offline: bool,
) -> Any:
    import datasets

    switched_off = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    fault = None if offline or switched_off else _connection_fault(path)
    try:
        with _offline_libraries() if offline or switched_off or fault else nullcontext():
            loaded = datasets.load_dataset(path, config, revision=revision)
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError, OSError) as error:
        mend = "check the name and the connection"
        if offline:
            mend = "--offline reads only what is on this machine, run once without it"
        raise Unavailable(
            f"the dataset hf:{path} could not be fetched ({fault or str(error).splitlines()[0]});"
            f" {mend}, or give a local folder"
        ) from error
    except (ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"the dataset hf:{path} cannot be used: {str(error).splitlines()[0]}"
        ) from error
    if fault:
        warnings.append(f"{fault}; hf:{path} is read as this machine keeps it")
    return loaded


def _connection_fault(path: str) -> str | None:
    """Why the Hub cannot be asked for the dataset ``path``; None where it answers, whatever it is.

    One request tells: the libraries would try each of theirs six times, for half a minute.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session, httpx

    endpoint, seconds = endpoint_of(None), constants.HF_HUB_ETAG_TIMEOUT
    try:
        get_session().head(f"{endpoint}/api/datasets/{quote(path)}", timeout=seconds)
    except httpx.TimeoutException:
        return f"{endpoint} has not answered for {seconds:g} seconds"
    except (httpx.HTTPError, OSError) as error:
        return f"{endpoint} cannot be reached: {error or type(error).__name__}"
    return None


def _part(
    dataset: Any,
    split: str,
    origin: str,
    columns: Columns,
) -> Part:
    import datasets

    described = {name: _described(kind) for name, kind in dataset.features.items()}
    schema = dataset.features.arrow_schema
    images = stored_image_column(schema, described, columns.image, origin)
    present = [name for name in dataset.features if name != images]
    if images is None:
        raise UserError(f"{origin} has no image column (it has: {listed(present)})")

    def read_column(name: str) -> Any:
        return dataset.select_columns([name]).with_format("arrow")[:].column(0)

    labels = label_column(
        present,
        described,
        read_column,
        named=columns.label,
        origin=origin,
        prefer_text=False,
    )
    if labels is None:
        raise NoLabels(f"{origin} has no label column (it has: {listed(list(described))})")
    numbers, classes = to_labels(read_column(labels), described[labels].get("names"), origin)
    stored = dataset.select_columns([images])
    if isinstance(dataset.features[images], datasets.Image):
        stored = stored.cast_column(images, datasets.Image(decode=False))
    return Part(HubImages(stored, images, split), numbers, classes)


def _described(feature: Any) -> dict[str, Any]:
    """What ``selection.sources.tables.columns`` wants to know of a column's feature."""
    names = getattr(feature, "names", None)
    return {"_type": type(feature).__name__, "names": names if isinstance(names, list) else None}
