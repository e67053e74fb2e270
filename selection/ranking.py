"""A ranking: which models related best to a probe, how sure that is, and what made it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UserError
from zoo.files import write_text

if TYPE_CHECKING:
    import pandas as pd

PACKAGED = "small zoo"  # the name of the catalogue where there is none yet


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model's place: ``value`` (higher is better) in [``low``, ``high``], or all three ``None``
    and ``error`` says why.

    ``group`` numbers the sets of models that are too close to call, 1 the best; ``seconds`` is what
    probing and scoring took when it was done; ``scores`` holds further scores asked for, by name
    (``None`` where one does not apply). ``knn`` is leave-one-out nearest-neighbour accuracy in [0,
    1], the cheap baseline beside every score. ``probe_size`` counts the images that the value was
    read on; values of different sizes are never compared. ``dropped`` says in which round of a
    budget the model fell behind, and why; ``None`` where it went as far as any. ``expected`` is the
    accuracy that a small student of this teacher should reach, with ``low``, ``high`` and their
    ``level`` (``selection.prediction``); ``None`` where the task lies outside what was measured.
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
    probe_size: int | None = None
    dropped: str | None = None
    expected: dict[str, float] | None = None
    params_total: int | None = None
    license: str | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Rows best first, failed models last, with the probe, the score and the versions that made
    them.

    ``committee`` names the models that teach best together (at most ``--top``), and
    ``committee_reasons`` says why they and no others (``selection.committee.Committee.reasons``);
    ``warnings`` are sentences for the user. ``candidates`` counts: ``known`` in the catalogue,
    ``loadable``, ``touched`` by label names, ``probed``, the ``rounds`` (each with its ``images``
    and ``models``), and ``left_out`` unprobed for ``limit`` (of the shortlist), ``budget`` and
    ``budget_gb``.
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
    def finalists(self) -> tuple[Row, ...]:
        """The ranked rows that were read on the most images; only their values can be compared."""
        most = max((row.probe_size or 0 for row in self.rows if row.value is not None), default=0)
        return tuple(
            row for row in self.rows if row.value is not None and (row.probe_size or 0) == most
        )

    def to_frame(self) -> pd.DataFrame:
        """One line a model, in the ranking's order; further scores are columns ``score:NAME``."""
        import pandas as pd

        flat = [
            {k: v for k, v in asdict(row).items() if k != "scores"}
            | {f"score:{name}": value for name, value in row.scores.items()}
            for row in self.rows
        ]
        return pd.DataFrame(flat)

    def to_json(self) -> str:
        """The text of ``ranking.json`` (strict JSON: no NaN)."""
        return json.dumps(asdict(self), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def save(self, path: Path) -> None:
        """Write ``ranking.json`` whole or not at all."""
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Ranking:
        """Read ``ranking.json``.

        Fields that a newer version has added are left out. Raises ``UserError`` if the file is
        absent or no ranking.
        """
        try:
            return _from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise UserError(
                f"no ranking at {path}; make one: python -m selection.rank --task TASK --out {path}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} is not a ranking ({type(error).__name__}: {error}); "
                f"make one: python -m selection.rank --task TASK --out {path}"
            ) from None


def _from_json(values: dict[str, Any]) -> Ranking:
    values = _known_fields(Ranking, values)
    for name in ("classes", "committee", "warnings"):
        values[name] = tuple(values.get(name, ()))
    values["rows"] = tuple(_row_from_json(row) for row in values["rows"])
    return Ranking(**values)


def _row_from_json(values: dict[str, Any]) -> Row:
    values = _known_fields(Row, values)
    return Row(**values | {"warnings": tuple(values.get("warnings", ()))})


def _known_fields(noun: type[Row] | type[Ranking], values: dict[str, Any]) -> dict[str, Any]:
    """The values that this version has a field for."""
    names = {known.name for known in fields(noun)}
    return {name: value for name, value in values.items() if name in names}


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Those on the most images first, then best value first, ties by name; failed models last, by
    name.
    """
    return sorted(
        rows,
        key=lambda row: (row.value is None, -(row.probe_size or 0), -(row.value or 0.0), row.model),
    )


def grouped(rows: Sequence[Row], close: dict[tuple[str, str], bool]) -> list[Row]:
    """Number the sets of models that are too close to call.

    ``rows`` are in order. The best model not yet in a group leads the next one; every following
    model stays in it for as long as ``close[leader, model]`` holds, or, where that pair was not
    compared, as long as the two intervals overlap. A model that was read on fewer images than the
    first is in no group.
    """
    done: list[Row] = []
    leader: Row | None = None
    number = 0
    for row in rows:
        if row.value is None or row.probe_size != rows[0].probe_size:
            done.append(row)
            continue
        if leader is None or not close.get((leader.model, row.model), overlap(leader, row)):
            leader, number = row, number + 1
        done.append(replace(row, group=number))
    return done


def overlap(a: Row, b: Row) -> bool:
    """Whether the intervals of two ranked rows share a point."""
    assert a.low is not None and a.high is not None and b.low is not None and b.high is not None
    return a.low <= b.high and b.low <= a.high


def finite(value: float) -> float:
    """``value`` as a float, or ``ValueError``: a score that is NaN or infinite is a failure, never
    a number in a table.
    """
    if not math.isfinite(value):
        raise ValueError(f"the score is {value}, expected a finite number")
    return float(value)


def versions() -> dict[str, str]:
    """Versions of what a ranking depends on, read without importing it."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("teacher-zoo", "torch", "timm", "numpy", "scikit-learn", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
