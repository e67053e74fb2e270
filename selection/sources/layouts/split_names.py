"""What a folder's name says of it: a split of a dataset, a part of one, or nothing.

>>> read_name("Training-Set_2"), read_name("roses")
(Name(kind='train', unknown=()), Name(kind=None, unknown=('roses',)))
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from selection.sources.layouts.folder import UNLABELLED

# kind of split -> the words that name it
_WORDS = {
    "train": """
        train training trn tr learn learning entrenamiento entrainement apprentissage treino
        treinamento addestramento trainings 训练 訓練
    """,
    "validation": """
        validation validate val valid vali vld dev devel development validacion validacao
        validierung validazione 验证 検証
    """,
    "test": "test testing tests tst te prueba teste 测试 テスト",
    "eval": "eval evaluation evaluate evaluating",
    "holdout": "holdout heldout",
    "other": """
        predict prediction predictions predicting pred inference infer submission submissions
        submit unseen blind query gallery challenge unsup unsupervised unlabelled unlabeled nolabel
    """,
    "part": """
        fold folds kfold split splits part parts partition partitions chunk shard batch subset
    """,
}
# words of a collection: alone they name a part of a dataset, never a class beside others
_COLLECTION = """
image images img imgs picture pictures pics photo photos data dataset datasets set sets jpg jpeg png
jpegs pngs jpegimages mask masks label labels annotation annotations groundtruth 集 数据 图片
"""
# words of folders that are left over when splits have been made
_LEFT_OVER = """
raw misc other others extra extras original originals orig augmented processed preprocessed resized
cropped unsorted backup bak copy kopie copia copie tmp temp samples archive download downloads old
"""
# words that may stand beside any of the above and say nothing of their own
_FILLERS = """
new final all full small tiny large big mini clean cleaned augmentation aug crop crops sorted folder
folders dir files file my the to for of and out labelled labeled v ver version rgb gray grey
official public private sample random balanced classification seg cv
"""
_SINGLE_WORDS = {"tr", "te", "v", "to", "my", "of"}  # never glued to another word
_KIND_OF = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_NEUTRAL = dict.fromkeys(_COLLECTION.split(), "collection")
_NEUTRAL |= dict.fromkeys(_LEFT_OVER.split(), "left over")
_NEUTRAL |= dict.fromkeys(_FILLERS.split(), "filler")
_POOL = dict.fromkeys(UNLABELLED, "unlabelled")
_VOCABULARY = _NEUTRAL | _KIND_OF
_GLUED = re.compile(
    "(?:" + "|".join(sorted(_VOCABULARY.keys() - _SINGLE_WORDS, key=len, reverse=True)) + ")+"
)
_TWO_WORDS = re.compile(r"(?<![a-z])(hold|held|un)[-_ ]?(out|labell?ed)(?![a-z])", flags=re.I)
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]")
# a class may be called so: trains, laboratory tests, valid and invalid forms, a gallery
_MAYBE_CLASSES = """
train training test tests testing valid dev development learning challenge gallery query blind
unseen part parts fold folds split splits partition chunk shard batch subset
"""
_CLASS_WORDS = set(_MAYBE_CLASSES.split())

SPLIT_KINDS = ("train", "validation", "test", "eval", "holdout", "other", "part")
"""Kinds that say that a folder is a split; ``collection`` and ``left over`` are weaker."""


class Name(NamedTuple):
    """What a name says.

    kind     one of ``SPLIT_KINDS``, ``unlabelled``, ``collection``, ``left over`` or None
    unknown  its words that are not of a split's name, lower case
    """

    kind: str | None
    unknown: tuple[str, ...]

    @property
    def is_split(self) -> bool:
        """Whether the name is that of a split and nothing else."""
        return self.kind in SPLIT_KINDS and not self.unknown

    @property
    def is_plain(self) -> bool:
        """Whether the name is no class's: of a split, a pool, a collection, or words like raw."""
        return self.kind is not None and not self.unknown


def read_name(name: str, *, ignore: Iterable[str] = ()) -> Name:
    """What ``name`` says; words of ``ignore``, which all folders beside it share, count not."""
    ignored = set(ignore)
    words = [word for word in _words(name) if word not in ignored]
    kinds = {_VOCABULARY[word] for word in words if word in _VOCABULARY}
    unknown = tuple(word for word in words if word not in _VOCABULARY and len(word) > 1)
    if not kinds - {"filler"}:  # a single letter is a class, unless the name says more
        return Name(None, tuple(words))
    return Name(_kind(words, kinds), unknown)


def read_names(names: Sequence[str]) -> list[Name]:
    """What the names of folders that lie side by side say, without the words that all share.

    >>> [name.kind for name in read_names(["flowers_train", "flowers_test"])]
    ['train', 'test']
    """
    common = set.intersection(*(set(_words(name)) for name in names)) if len(names) > 1 else set()
    return [read_name(name, ignore=common - _VOCABULARY.keys()) for name in names]


def may_be_class(name: str) -> bool:
    """Whether a class may be called so although a split is, too: ``train``, ``test``."""
    return name.casefold() in _CLASS_WORDS


def loose_key(name: str) -> str:
    """``name`` without what differs between two writings of it: case, accents, separators.

    >>> loose_key("Golden-Retriever") == loose_key("golden retriever")
    True
    """
    letters = [letter for letter in _plain(name).casefold() if letter.isalnum()]
    return "".join(letters) or name


def numbered_family(names: Sequence[str]) -> bool:
    """Whether the names are equal but for numbers: ``fold1``, ``fold2``; ``0``, ``1``; dates."""
    stems = {re.sub(r"[\d\W_]+", "", name.casefold()) for name in names}
    return len(stems) == 1 and all(re.search(r"\d", name) for name in names)


def _kind(words: Sequence[str], kinds: set[str]) -> str | None:
    splits = [kind for kind in SPLIT_KINDS if kind in kinds]
    if (
        words
        and set(words) <= {"unlabelled", "unlabeled"} | _NEUTRAL.keys()
        and splits == ["other"]
    ):
        return "unlabelled"
    if len(splits) > 1 and "part" in splits:  # train_fold1
        splits.remove("part")
    if "other" in splits:  # test_to_predict
        return "other"
    if splits in (["train"], ["train", "validation"]):  # trainval
        return "train"
    if len(splits) == 1:
        return splits[0]
    if splits:  # train_test_split: a folder of splits
        return "collection"
    if "set" in words and all(word == "set" or len(word) == 1 for word in words):
        return "part"  # set_a, set 1
    return "left over" if "left over" in kinds else "collection"


@functools.lru_cache(maxsize=100_000)
def _words(name: str) -> list[str]:
    """The words of a name in lower case: at case changes, digits and signs; known ones glued."""
    joined = _TWO_WORDS.sub(lambda match: f" {match[1]}{match[2]} ".lower(), _plain(name))
    words: list[str] = []
    for token in _TOKEN.findall(joined):
        token = token.casefold()
        if token not in _VOCABULARY and _GLUED.fullmatch(token):
            words += _unglue(token)
        else:
            words.append(token)
    return words


def _unglue(token: str) -> list[str]:
    """``trainset`` -> ``train``, ``set``: the split with the fewest words."""
    best: list[list[str] | None] = [[]]
    for end in range(1, len(token) + 1):
        shortest: list[str] | None = None
        for start in range(end):
            before, word = best[start], token[start:end]
            if before is None or word in _SINGLE_WORDS or word not in _VOCABULARY:
                continue
            if shortest is None or len(before) + 1 < len(shortest):
                shortest = [*before, word]
        best.append(shortest)
    return best[-1] or [token]


def _plain(name: str) -> str:
    """Without accents; letters of other scripts stay."""
    letters = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def by_pairs(
    names: Sequence[str], *, beside: Collection[str | None] = ()
) -> dict[str, tuple[str, str]]:
    """Names that join a split's and a class's: ``train_cats`` -> ``("train", "cats")``.

    Empty unless every name is such a pair, and at least two classes stand in train and, where there
    are other splits, in one of these, too. ``beside`` are the kinds of splits that lie beside the
    folders; with these, two classes are enough.
    """
    pairs = {}
    for name in names:
        read = read_name(name)
        if read.kind not in ("train", "validation", "test") or not read.unknown:
            return {}
        pairs[name] = (read.kind, "_".join(read.unknown))
    classes = {kind: {c for k, c in pairs.values() if k == kind} for kind, _ in pairs.values()}
    others = set(itertools.chain.from_iterable(classes[k] for k in classes if k != "train"))
    repeated = classes.get("train", set())
    if beside:
        repeated = repeated | others if "train" in {*beside, *classes} else set()
    elif others:
        repeated &= others
    return pairs if len(repeated) >= 2 and len(set(pairs.values())) == len(pairs) else {}
