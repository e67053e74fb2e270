"""A ranking: which models teach a task best, how sure that is, and what made it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UserError
from zoo.files import known_fields, write_text

if TYPE_CHECKING:
    import pandas as pd

    from selection.kinds.kind import Kind

UNEVEN = 1.5  # commonest over rarest class of a probe from which the two accuracies differ
_NOTEBOOK_COLUMNS = ("model", "value", "low", "high", "knn", "params_total", "license", "error")
PACKAGED = "small zoo"  # stands for the catalogue if the user has none yet


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model's place in a ranking.

    A model that failed has ``None`` for value and interval, and its reason in ``error``.

    Attributes
    ----------
    model, revision, source, location : str
        Where the model comes from, as its card says.
    value : float, optional
        The score, higher is better; comparable only between rows of one ``probe_size``.
    low, high : float, optional
        95 % interval, ``low <= value <= high``.
    seconds : float, optional
        What probing and scoring took when it was done.
    error : str, optional
        Why there is no value.
    group : int, optional
        Numbers the sets of models that are too close to call, 1 the best
        (``selection.scores.ties``); tables and pages show it as a letter.
    knn : float, optional
        Leave-one-out nearest-neighbour accuracy in [0, 1], the cheap baseline beside every score.
    knn_balanced : float, optional
        The same, averaged over the classes.
    knn_by_class : tuple of float or None, optional
        The same of each of the C classes, ``None`` for a class without probe samples; of the best
        three models alone.
    probe_size : int, optional
        Samples that the value was read on.
    dropped : str, optional
        In which round of a budget the model fell behind, and why.
    expected : dict, optional
        ``accuracy`` to expect of a small student, ``low``, ``high`` and their ``level``
        (``selection.scores.prediction``); ``None`` where that was not measured.
    params_total : int, optional
        The model's parameters.
    license : str, optional
        Its licence.
    scores : dict of str to float
        Further scores by name; ``None`` for one that does not apply.
    warnings : tuple of str
        Sentences for the user.
    """

    model: str
    revision: str
    source: str
    location: str | None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    error: str | None = None
    group: int | None = None
    knn: float | None = None
    knn_balanced: float | None = None
    knn_by_class: tuple[float | None, ...] | None = None
    probe_size: int | None = None
    dropped: str | None = None
    expected: dict[str, float] | None = None
    params_total: int | None = None
    license: str | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Models in order as teachers for a task, with the committee and what made them.

    Attributes
    ----------
    task : str
        Its name.
    classes : tuple of str
        The task's class names.
    split : dict
        ``digest`` and ``seed`` of the task's splits, ``revision`` of a Hub dataset, the
        ``image_column`` and ``label_column`` that were named, the ``kind`` of its samples, and how
        many of them (``images``) each class has in each split.
    probe : dict
        ``size``, ``seed`` and ``digest`` of the probe, and how many samples (``images``) each class
        has of it.
    score : str
        Full name of the score.
    catalogue : str
        The catalogue's file, or the packaged zoo's name.
    versions : dict of str to str
        Versions of what the values depend on.
    rows : tuple of Row
        Best first, failed models last.
    committee : tuple of str
        Ids of the models that teach best together.
    warnings : tuple of str
        Sentences for the user.
    candidates : dict
        Counts: ``known`` in the catalogue, ``loadable``, ``touched`` by label names, ``probed``,
        the ``rounds`` (each with its ``models`` and the samples that they saw, ``images``), and
        ``left_out`` unprobed for ``limit`` (of the shortlist), ``budget`` and ``budget_gb``.
    committee_reasons : dict
        Why they and no others (``selection.committee.Committee.reasons``).
    """

    task: str
    classes: tuple[str, ...]
    split: dict[str, Any]
    probe: dict[str, Any]
    score: str
    catalogue: str
    versions: dict[str, str]
    rows: tuple[Row, ...]
    committee: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    candidates: dict[str, Any] = field(default_factory=dict)
    committee_reasons: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """What the task's samples are."""
        from selection.kinds.image import IMAGE
        from selection.kinds.registry import KINDS

        return KINDS.get(str(self.split.get("kind")), IMAGE)  # earlier rankings name none

    @property
    def commonest(self) -> tuple[str, float] | None:
        """The class with the most probe samples and its share of them, which is the accuracy of
        always saying it; ``None`` in a ranking of an earlier version.
        """
        counts = self.probe.get("images")
        if not counts or len(counts) != len(self.classes) or not sum(counts):
            return None
        most = max(range(len(counts)), key=counts.__getitem__)
        return self.classes[most], counts[most] / sum(counts)

    @property
    def uneven(self) -> bool:
        """Whether the probe has clearly more samples of one class than of another, so that accuracy
        and balanced accuracy on it differ.
        """
        counts = [count for count in self.probe.get("images") or () if count]
        return bool(counts) and max(counts) > UNEVEN * min(counts)

    @property
    def finalists(self) -> tuple[Row, ...]:
        """The ranked rows that were read on the most samples; only their values can be compared."""
        ranked = [row for row in self.rows if row.value is not None]
        most = max((row.probe_size or 0 for row in ranked), default=0)
        return tuple(row for row in ranked if (row.probe_size or 0) == most)

    def to_frame(self) -> pd.DataFrame:
        """A pandas table with one line a model, in the ranking's order.

        Its columns are the fields of `Row`; further scores are columns ``score:NAME``.
        """
        import pandas as pd

        lines = []
        for row in self.rows:
            line = asdict(row)
            for name, value in line.pop("scores").items():
                line[f"score:{name}"] = value
            lines.append(line)
        return pd.DataFrame(lines)

    def _repr_html_(self) -> str:
        """What a notebook shows: the committee, and a table of the models; names are escaped."""
        from html import escape

        frame = self.to_frame().reindex(columns=list(_NOTEBOOK_COLUMNS))
        names = escape(", ".join(self.committee) or "none")
        table = frame.to_html(
            escape=True,
            index=False,
            na_rep="",
            float_format="{:.3f}".format,
        )
        return f"<div><p>Best first. Train from: <b>{names}</b></p>{table}</div>"

    def to_json(self) -> str:
        """The text of ``ranking.json`` (strict JSON: no NaN)."""
        return (
            json.dumps(
                asdict(self),
                indent=1,
                allow_nan=False,
                ensure_ascii=False,
            )
            + "\n"
        )

    def save(self, path: str | Path) -> None:
        """Write ``ranking.json`` whole or not at all."""
        write_text(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Ranking:
        """Read ``ranking.json``.

        Fields that a newer version has added are left out. Raises ``UserError`` if the file is
        absent or no ranking.
        """
        try:
            return _from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise UserError(
                f"no ranking at {path}; make one: python -m selection.rank --task TASK --out {path}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} is not a ranking ({error}); "
                f"make one: python -m selection.rank --task TASK --out {path}"
            ) from None


def _from_json(values: Any) -> Ranking:
    if not isinstance(values, dict) or not isinstance(values.get("rows"), list):
        raise ValueError("expected an object with a list of rows")
    values = known_fields(Ranking, values)
    for name in ("classes", "committee", "warnings"):
        values[name] = tuple(values.get(name, ()))
    values["rows"] = tuple(_row_from_json(row) for row in values["rows"])
    return Ranking(**values)


def _row_from_json(values: dict[str, Any]) -> Row:
    values = known_fields(Row, values)
    values["warnings"] = tuple(values.get("warnings", ()))
    if values.get("knn_by_class") is not None:
        values["knn_by_class"] = tuple(values["knn_by_class"])
    return Row(**values)


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Most samples first, then best value, then name; failed models last, by name."""

    def key(row: Row) -> tuple[bool, int, float, str]:
        return row.value is None, -(row.probe_size or 0), -(row.value or 0.0), row.model

    return sorted(rows, key=key)


def finite(value: float) -> float:
    """``value`` as a float; ``ValueError`` if it is NaN or infinite, which is no score."""
    if not math.isfinite(value):
        raise ValueError(f"the score is {value}, expected a finite number")
    return float(value)


def versions() -> dict[str, str]:
    """Versions of what a ranking depends on, read without importing it."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    installed = {"python": platform.python_version()}
    for name in ("teacher-zoo", "torch", "timm", "numpy", "scikit-learn", "transformers"):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed
