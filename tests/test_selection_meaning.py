"""Every score says what it means, in the page and in the documentation."""

from __future__ import annotations

import pytest

from selection.scores.registry import ALIASES, SCORES
from tests.places import ROOT

DOCUMENT = (ROOT / "docs" / "scores.md").read_text()


@pytest.mark.parametrize("name", SCORES)
def test_a_score_has_one_sentence_and_stands_in_the_document(name: str) -> None:
    assert SCORES[name].meaning.endswith(".")
    assert "{" not in SCORES[name].meaning
    space = "_".join(name.split("_")[:2]) if name.startswith("transport") else name
    assert f"`{space}`" in DOCUMENT or f"`{name}`" in DOCUMENT


def test_the_document_names_the_default() -> None:
    assert f"`{ALIASES['transport']}` (the default)" in DOCUMENT
