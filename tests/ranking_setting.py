"""Rankings and their rows for the tests of rankings, tables and pages."""

from __future__ import annotations

from typing import Any

from selection.ranking import Ranking, Row


def row(
    model: str,
    value: float | None,
    *,
    below: float = 0.1,
    above: float = 0.1,
    **fields: Any,
) -> Row:
    """A model's row, its interval from ``below`` under to ``above`` over the value, if any."""
    if value is not None:
        fields |= {"low": value - below, "high": value + above}
    return Row(
        model=model,
        revision="ab" * 20,
        source="folder",
        location="/x",
        value=value,
        **fields,
    )


def ranking(*rows: Row, **fields: Any) -> Ranking:
    """A ranking of ``rows``; ``fields`` are those of ``Ranking`` that a test looks at."""
    defaults: dict[str, Any] = {
        "task": "t",
        "classes": ("x", "y"),
        "split": {},
        "probe": {"size": 500},
        "score": "knn",
        "catalogue": "c",
        "versions": {},
        "committee": (),
    }
    return Ranking(rows=rows, **defaults | fields)
