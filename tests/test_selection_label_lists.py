"""Labels that are lists of labels are refused; names with blanks and signs stay names."""

from __future__ import annotations

import pytest

from selection.sources.tables.label_lists import single_labels
from zoo.errors import UserError

LISTS = {
    # NIH ChestX-ray14: Nodule stands in a list only
    "bars": ["No Finding", "Mass", "Effusion", "Effusion|Mass", "Mass|Nodule"],
    # Plant Pathology 2021: lists are separated by blanks
    "blanks": ["healthy", "scab", "rust", "complex", "rust complex", "scab rust complex"],
    "plus": ["cat", "dog", "cat+dog"],
    "slash": ["cat", "dog", "cat / dog"],
    # of pandas and of JSON: dog stands in a list only
    "Python": ["['cat']", "['cat', 'dog']", "[]"],
    "JSON": ['["cat"]', '["cat","dog"]'],
    "Label Studio": ["cat", '{"choices":["dog","cow"]}'],
}
NAMES = {
    "ImageNet": ["cock, rooster", "hen", "drake", "tench, Tinca tinca"],
    "aircraft": ["Boeing 707", "Boeing 727", "Airbus A320"],
    "shades": ["light green", "dark green", "light blue", "dark blue"],
    "positive": ["positive", "negative", "weak positive", "false positive"],
    "paths": ["animal/cat", "animal/dog", "plant"],
    "signs": ["R&D", "C++", "n/a yet", "1+1"],
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_labels_are_refused_as_multi_label(name: str) -> None:
    with pytest.raises(UserError, match=r"labels.csv holds several labels a sample .*multi-label"):
        single_labels(LISTS[name] * 3, "labels.csv")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_several_words_are_names(name: str) -> None:
    assert single_labels(NAMES[name], "labels.csv") == NAMES[name]


def test_lists_of_one_label_are_that_label() -> None:
    texts = ["['cat']", '["dog"]', "[]", "", "[cow]"]
    assert single_labels(texts, "labels.csv") == ["cat", "dog", "", "", "cow"]


def test_a_decimal_comma_makes_a_regression() -> None:
    with pytest.raises(UserError, match=r"decimal comma \(0,5\), and fractions make a regression"):
        single_labels(["1,25", "0,5", "", "0,5"], "labels.csv")
