"""Which columns of a listed table hold the paths and the labels, and what the labels say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from selection.sources.split import class_name
from selection.sources.tables.cells import is_address, is_encoded_text
from selection.sources.tables.columns import (
    IMAGE_WORDS,
    PATH_WORDS,
    ask,
    is_label_name,
    label_column,
    listed,
    named_column,
    words,
)
from selection.sources.tables.label_lists import refuse_multi_label
from selection.sources.tables.labels import Labels, text_labels, to_labels
from selection.sources.tables.listed_table import ListedTable, NoLabels
from selection.sources.tables.paths import has_image_suffix
from selection.sources.tables.splits import NO, YES
from zoo.errors import UserError

_BOX_WORDS_TEXT = """
    xmin ymin xmax ymax bbox bboxes xtl ytl xbr ybr cx cy polygon segmentation
"""
_BOX_WORDS = set(_BOX_WORDS_TEXT.split())
_BOX_NAMES = {"x1", "y1", "x2", "y2", "roi.x1", "roi.y1", "bndbox", "boxes", "rle", "encodedpixels"}
_SHOWN = 3


def path_column(table: ListedTable, named: str | None) -> str:
    """The column whose values are files."""
    present = list(table.columns)
    if named is not None:
        named_column(named, present, "--image-column", table.origin)
        table.files.fit(table.paths(named))
        return named
    _refuse_pixel_columns(table)
    by_name = [name for name in present if (IMAGE_WORDS | PATH_WORDS) & set(words(name))]
    by_name.sort(key=lambda name: not IMAGE_WORDS & set(words(name)))
    pool = by_name + [name for name in present if name not in by_name]
    hits = {name: table.files.fit(table.paths(name)) for name in pool}
    most = max(hits.values())
    best = [name for name in pool if most and hits[name] > most / 2]
    best = _clearest(table, best)
    if len(best) > 1:
        best = _distinct_files(table, best)
    if len(best) > 1:
        raise ask(table.origin, "image", best)
    if best:
        table.files.fit(table.paths(best[0]))
        return best[0]
    likely = [name for name in pool if like_paths(table.paths(name))] or by_name
    if likely:
        return likely[0]  # none of its files is there: they are named later
    raise UserError(
        f"{table.origin} has no column of image files (it has: {listed(present)}); name it with"
        " --image-column"
    )


def _clearest(table: ListedTable, names: Sequence[str]) -> list[str]:
    """Of columns that name files those that do it best: labels 0 and 1 are no files ``0.png`` and
    ``1.png`` where another column has whole paths, or another value in every row.
    """
    rules: tuple[Callable[[str], bool], ...] = (
        lambda name: like_paths(table.paths(name)),
        lambda name: not is_label_name(name),
        lambda name: len(set(table.paths(name))) == len(table.paths(name)),
    )
    clearest = list(names)
    for rule in rules:
        clearest = [name for name in clearest if rule(name)] or clearest
    return clearest


def like_paths(values: Sequence[str]) -> bool:
    """Whether most values end like image files, or are addresses or encoded images."""
    hits = sum(
        is_address(value) or is_encoded_text(value) or has_image_suffix(value)
        for value in values[:100]
    )
    return hits > len(values[:100]) / 2


def _distinct_files(table: ListedTable, names: Sequence[str]) -> list[str]:
    """One column of those that name the same files, as ``id`` and ``file_name`` do."""
    kept: dict[tuple[str | None, ...], str] = {}
    for name in names:
        texts = table.texts(name)
        table.files.fit([text for text in texts if text])
        step = max(1, len(texts) // 50)
        kept.setdefault(tuple(table.files.find(text) for text in texts[::step]), name)
    return list(kept.values())


def _refuse_pixel_columns(table: ListedTable) -> None:
    pixels = [name for name in table.columns if words(name)[:1] in (["pixel"], ["px"], ["pixels"])]
    if len(pixels) > 10 or any(
        len(text) > 200 and text.replace(" ", "").isdigit()
        for name in pixels
        for text in table.texts(name)[:3]
    ):
        raise UserError(
            f"{table.origin} holds pixels as numbers ({listed(pixels[:3])}), which are not read;"
            " write them as image files, or as a Parquet column of encoded images"
        )


def refuse_boxes(table: ListedTable, others: Sequence[str]) -> None:
    boxes = [
        name
        for name in others
        if _BOX_WORDS & set(words(name)) or name.strip().lower() in _BOX_NAMES
    ]
    if not boxes:
        return
    label = next((name for name in others if is_label_name(name)), None)
    mend = f": --label-column {class_name(label)}" if label else " with --label-column"
    raise UserError(
        f"{table.origin} holds boxes, not classes ({listed(boxes)}): labels of object detection;"
        " for classification each image needs one class. If each image has one class here, name"
        f" the column{mend}"
    )


def read_labels(
    table: ListedTable,
    named: str | None,
    image: str,
    others: Sequence[str],
) -> Labels:
    """The labels of all rows, from one column, from one-hot columns, or from the paths' folders."""
    if named is None and (one_hot := _one_hot_columns(table, others)):
        return _from_one_hot(table, one_hot)
    column = label_column(
        others if named is None else list(table.columns),
        table.features,
        table.arrow,
        named=named,
        origin=table.origin,
        prefer_text=True,
    )
    if column is None and len(others) == 1:
        column = others[0]
    if column is None and all(name.isdigit() for name in others):  # a table without header
        texts = [name for name in others if not _is_numeric(table.texts(name))]
        column = texts[0] if len(texts) == 1 else None
    if column is None and not others:
        return _from_folders(table, image)
    if column is None:
        raise NoLabels(
            f"{table.origin} has no column 'label' (it has: {listed(list(table.columns))}); name"
            f" it, such as --label-column {class_name(others[-1])}"
        )
    origin = f"{table.origin} ({class_name(column)!r})" if column != "label" else table.origin
    values = table.arrow(column)
    if names := table.features.get(column, {}).get("names"):
        return to_labels(values, names, origin)
    return to_labels(_from_zero(values, table.names), table.names, origin)


def _from_zero(values: Any, names: Sequence[str] | None) -> Any:
    """Numbers from 1 to C, where there are C class names, counted from 0."""
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    if not names or not kinds.is_integer(values.type):
        return values
    smallest, largest = pc.min_max(values).as_py().values()
    return pc.subtract(values, 1) if smallest == 1 and largest == len(names) else values


def _is_numeric(texts: Sequence[str]) -> bool:
    try:
        return all(float(text or 0) is not None for text in texts)
    except ValueError:
        return False


def _one_hot_columns(table: ListedTable, others: Sequence[str]) -> list[str]:
    """``others`` if they are one column a class, of 0 and 1 (or -1 and 1, true and false)."""
    if len(others) < 2 or sum(map(is_label_name, others)) == 1:
        return []
    values = [{text.strip().lower() for text in table.texts(name)} for name in others]
    if not all(some and some <= YES | NO for some in values):
        return []
    called_labels = any(map(is_label_name, others))
    return [] if called_labels and _marks(table, others).sum(0).max() > 1 else list(others)


def _marks(table: ListedTable, columns: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(C, n) which of C columns say yes in which row."""
    return np.array(
        [[text.strip().lower() in YES for text in table.texts(name)] for name in columns]
    )


def _from_one_hot(table: ListedTable, columns: Sequence[str]) -> Labels:
    """One column a class, at most one a row; ``UserError`` where a row has several."""
    marks = _marks(table, columns)
    counts = marks.sum(0)
    names = [class_name(name.strip()) for name in columns]
    if counts.max() > 1:
        several = marks[:, int(counts.argmax())]
        example = ", ".join(name for name, mark in zip(names, several, strict=True) if mark)
        raise refuse_multi_label(f"{table.origin} with its columns of 0 and 1", example)
    chosen = marks.argmax(0)
    return text_labels([names[i] if n else "" for i, n in zip(chosen, counts, strict=True)])


def _from_folders(table: ListedTable, image: str) -> Labels:
    """Lists of paths alone: the folder of an image is its class."""
    paths = [text.replace("\\", "/").strip() for text in table.texts(image)]
    folders = [path.rpartition("/")[0].rpartition("/")[2] for path in paths]
    if not all(folders) or len(set(folders)) < 2:
        raise NoLabels(
            f"{table.origin} lists images without labels; expected a path and a label a line"
        )
    return text_labels([class_name(folder) for folder in folders])


def refuse_addresses(table: ListedTable, image: str, texts: Sequence[str]) -> None:
    address = next((text for text in texts if is_address(text.strip())), None)
    if address is not None:
        raise UserError(
            f"{table.origin} (column {class_name(image)!r}) holds addresses"
            f" ({class_name(address)[:80]}), and nothing is downloaded; fetch the files and give"
            " their paths"
        )
    if any(is_encoded_text(text.strip()) for text in texts[:_SHOWN]):
        raise UserError(
            f"{table.origin} (column {class_name(image)!r}) holds encoded images as text; write"
            " them as image files, or as a column of a Parquet file"
        )
