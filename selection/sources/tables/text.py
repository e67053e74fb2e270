"""A text file of paths and labels as columns: CSV and its kin, image lists, JSON."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selection.sources.layouts.folder import IMAGE_SUFFIXES
from selection.sources.layouts.split_names import read_name
from selection.sources.split import class_name
from selection.sources.tables.columns import IMAGE_WORDS, PATH_WORDS, is_label_name, words
from selection.sources.tables.paths import has_image_suffix
from zoo.errors import UserError

SUFFIXES = {".csv", ".tsv", ".tab", ".txt", ".lst", ".list", ".json", ".jsonl", ".ndjson"}
_LISTS = {".txt", ".lst", ".list"}
_MOST_BYTES = 2**29
_SNIFFED_LINES = 100
_INDEX_NAMES = {"", "unnamed: 0", "index", "idx"}

_LISTED_IMAGE = re.compile(
    rf"(.*?(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))}))\s+(\S.*)", re.IGNORECASE
)

TextColumns = dict[str, list[Any]]


def read_columns(path: Path) -> TextColumns:
    """The columns of a text file by name; texts as they stand, or what JSON holds.

    Without a header the columns are called 1, 2, ... ``UserError`` where the file is no table.
    """
    text = read_text(path)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        columns = _of_records([_parsed(line, path) for line in _lines(text)], path)
    elif path.suffix.lower() == ".json":
        columns = _of_json(_parsed(text, path), path)
    else:
        columns = _of_rows(_rows(text, path), path)
    return {name: values for name, values in columns.items() if not _is_index(name, values)}


def read_text(path: Path, expected: str = "a table of paths and labels") -> str:
    """The text of a file in UTF-8, UTF-16 or, failing these, Windows' Latin letters.

    ``UserError`` where it is none; ``expected`` says what it should have been.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise UserError(
                f"{path} is a table of {size / 2**20:.0f} MiB, more than {_MOST_BYTES // 2**20};"
                " write it as Parquet"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    for encoding in _encodings(raw):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise UserError(f"{path} is no text file; expected {expected}")
    if "\0" in text:
        raise UserError(f"{path} is no text file; expected {expected}")
    return text


def _encodings(raw: bytes) -> list[str]:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ["utf-16"]
    if raw[1:2] == b"\0" and raw[:1] != b"\0":
        return ["utf-16-le"]
    return ["utf-8-sig", "cp1252", "latin-1"]


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no valid JSON: {str(error)[:200]}") from error


def _of_json(value: Any, path: Path) -> TextColumns:
    """The usual shapes: records, a mapping of paths to labels or of classes to paths, columns."""
    if isinstance(value, Mapping):
        _refuse_json_boxes(value, path)
        if columns := _of_coco(value):
            return columns
        inner = [part for part in value.values() if isinstance(part, list)]
        if len(inner) == 1 and inner[0] and isinstance(inner[0][0], Mapping | list):
            return _of_json(inner[0], path)  # {"data": [...]}
        if columns := _of_splits(value, path) or _of_mapping(value, path):
            return columns
    if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        return _of_records(value, path)
    if isinstance(value, list) and value and all(_is_pair(part) for part in value):
        return {"image": [pair[0] for pair in value], "label": [pair[1] for pair in value]}
    raise UserError(
        f"{path} holds no paths and labels; expected a list of objects such as"
        ' {"file_name": "a.jpg", "label": "cat"}, or an object of paths and labels'
    )


def _of_splits(value: Mapping[str, Any], path: Path) -> TextColumns | None:
    """Records under the names of their splits: ``{"train": [{...}], "test": [{...}]}``."""
    are_records = all(
        isinstance(part, list) and part and all(isinstance(one, Mapping) for one in part)
        for part in value.values()
    )
    if len(value) < 2 or not are_records or not all(read_name(name).is_split for name in value):
        return None
    records = [{**one, "split": name} for name, part in value.items() for one in part]
    return _of_records(records, path)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _of_mapping(value: Mapping[str, Any], path: Path) -> TextColumns | None:
    lists = [part for part in value.values() if isinstance(part, list)]
    if lists and len(lists) == len(value):
        lengths = {len(part) for part in lists}
        if len(lengths) == 1 and any(_is_known(name) for name in value):
            return dict(value)
        if all(isinstance(item, str) for part in lists for item in part):  # paths of each class
            pairs = [(path, name) for name, paths in value.items() for path in paths]
            if any(has_image_suffix(path) for path, _ in pairs):
                return {"image": [path for path, _ in pairs], "label": [name for _, name in pairs]}
        return {"image": list(value), "label": list(value.values())}
    if value and all(isinstance(part, Mapping) for part in value.values()):
        return _of_records([{"image": name, **part} for name, part in value.items()], path)
    if value and all(isinstance(part, str | int | float | None) for part in value.values()):
        return {"image": list(value), "label": list(value.values())}
    return None


def _of_coco(value: Mapping[str, Any]) -> TextColumns | None:
    """COCO's layout without boxes, as iNaturalist has it: images, annotations, categories."""
    parts = [value.get(name) for name in ("images", "annotations")]
    if not all(
        isinstance(part, list) and all(isinstance(one, Mapping) for one in part) for part in parts
    ):
        return None
    names = {one.get("id"): one.get("name") for one in value.get("categories") or ()}
    files = {one.get("id"): one.get("file_name") for one in value["images"]}
    rows = [
        (files[one.get("image_id")], one.get("category_id"))
        for one in value["annotations"]
        if one.get("image_id") in files
    ]
    return {
        "file_name": [path for path, _ in rows],
        "label": [names.get(label, label) for _, label in rows],
    }


def _refuse_json_boxes(value: Mapping[str, Any], path: Path) -> None:
    """Raise ``UserError`` for annotations of object detection: COCO, CreateML, VIA, Labelme."""
    annotations = next(
        (value[name] for name in ("annotations", "shapes", "objects", "regions") if name in value),
        None,
    )
    entries = annotations.values() if isinstance(annotations, Mapping) else annotations
    first = (
        next((one for one in entries if isinstance(one, Mapping)), {})
        if isinstance(entries, Iterable)
        else {}
    )
    if {"bbox", "segmentation", "coordinates", "points", "shape_attributes"} & set(first):
        raise UserError(
            f"{path} holds boxes, not classes: labels of object detection; for classification each"
            " image needs one class"
        )


def _of_records(records: Sequence[Any], path: Path) -> TextColumns:
    if not records or not all(isinstance(record, Mapping) for record in records):
        raise UserError(
            f"{path} holds no JSON objects; expected lines such as"
            ' {"file_name": "a.jpg", "label": "cat"}'
        )
    _refuse_json_boxes(records[0], path)
    if {"data", "annotations"} <= set(records[0]):
        raise UserError(
            f"{path} looks like a JSON export of Label Studio, which is not read; export the labels"
            " as CSV or JSON-MIN"
        )
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _rows(text: str, path: Path) -> list[list[str]]:
    """The cells of each line: separated by one delimiter, or a path, blanks and a label."""
    lines = _lines(text)
    if path.suffix.lower() in _LISTS:
        lines = [line for line in lines if not line.startswith("#")]
    if lines and lines[0].lower().startswith("sep=") and len(lines[0]) == 5:  # Excel's own line
        lines = lines[1:]
    try:
        delimiter = _delimiter(lines[:_SNIFFED_LINES])
        if delimiter is None:
            return [_path_and_label(line) for line in lines]
        reader = csv.reader(
            lines,
            delimiter=delimiter,
            skipinitialspace=True,
            strict=False,
        )
        return [[cell.strip() for cell in row] for row in reader]
    except csv.Error as error:
        raise UserError(f"{path} is no readable table: {error}") from error


def _lines(text: str) -> list[str]:
    """The lines that are not empty; ends of lines as on Windows and old Macs too."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [line for line in lines if line.strip()]


def _delimiter(lines: Sequence[str]) -> str | None:
    """What separates the cells of most lines into one number of columns; None: nothing does."""
    best, most = None, (0.6, 0.0)
    for delimiter in ("\t", ",", ";", "|"):
        counts = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter))
        counts.pop(1, None)
        if counts:
            columns, hits = counts.most_common(1)[0]
            if (hits / len(lines), columns) > most:
                best, most = delimiter, (hits / len(lines), columns)
    return best


def _path_and_label(line: str) -> list[str]:
    """``my cat.jpg 3``: the last word is the label, unless it is the path itself."""
    line = line.strip()
    if has_image_suffix(line):
        return [line]
    if match := _LISTED_IMAGE.match(line):  # the label may hold blanks too
        return [match[1], match[2]]
    return line.rsplit(None, 1)


def _of_rows(rows: list[list[str]], path: Path) -> TextColumns:
    if not rows:
        raise UserError(f"{path} is empty; expected a path and a label a line")
    header = _has_header(rows)
    width = len(rows[0]) if header else Counter(map(len, rows)).most_common(1)[0][0]
    for number, row in enumerate(rows, start=1):
        extra = [cell for cell in row[width:] if cell]
        if extra:
            raise UserError(
                f"{path}, row {number}, has {len(row)} cells, {width} are expected; the first too"
                f" many is {class_name(extra[0])[:60]!r}: put quotes around cells with separators"
            )
    names = _distinct(rows[0][:width]) if header else [str(i + 1) for i in range(width)]
    body = rows[1:] if header else rows
    return {
        name: [row[i] if i < len(row) and row[i] else None for row in body]
        for i, name in enumerate(names)
    }


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns."""
    first, body = rows[0], rows[1:_SNIFFED_LINES]
    if any(has_image_suffix(cell) for cell in first):
        return False
    for i, cell in enumerate(first):
        below = [row[i] for row in body if i < len(row)]
        if _is_known(cell) and 2 * sum(map(_is_known, below)) <= len(below) and cell not in below:
            return True
        if below and all(has_image_suffix(value) for value in below):
            return True
        if below and all(_is_number(value) for value in below) and not _is_number(cell):
            return True
    return False


def _is_known(name: str) -> bool:
    """Whether a column may be called so."""
    is_image = bool((IMAGE_WORDS | PATH_WORDS) & set(words(name)))
    return len(name) < 40 and not has_image_suffix(name) and (is_label_name(name) or is_image)


def _is_number(text: str) -> bool:
    try:
        return float(text) is not None
    except ValueError:
        return False


def _distinct(names: Sequence[str]) -> list[str]:
    """Column names, numbered where two are equal."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct


def _is_index(name: str, values: Sequence[Any]) -> bool:
    """Whether a column only numbers the rows, as pandas writes it."""
    if name.strip().lower() not in _INDEX_NAMES:
        return False
    return [str(value) for value in values] == [str(i) for i in range(len(values))] or not name
