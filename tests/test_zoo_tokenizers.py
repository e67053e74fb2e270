"""Tokenizers of strangers: what is read of them, how long texts are, what is refused and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.hub_server import Hub, Repo
from tests.tiny_texts import VOCABULARY, save_text, tiny_text, tokenizer
from zoo.card import ModelCard
from zoo.catalogue import Catalogue
from zoo.errors import TeacherError
from zoo.loading.download import fetch
from zoo.loading.inputs.preprocessing import preprocessing_of
from zoo.loading.inputs.tokenization import Tokenization, max_length
from zoo.sources.folder import card as folder_card
from zoo.sources.hub import crawl
from zoo.sources.layout import find_models
from zoo.sources.listing import Scope
from zoo.teacher import Teacher

pytestmark = pytest.mark.journey

torch = pytest.importorskip("torch")
BERT = {"architectures": ["BertModel"], "model_type": "bert", "max_position_embeddings": 512}
ROBERTA = BERT | {"architectures": ["RobertaModel"], "model_type": "roberta", "pad_token_id": 1}


@pytest.fixture(scope="module")
def network() -> Any:
    return tiny_text("Bert")


@pytest.fixture
def folder(tmp_path: Path, network: Any) -> Path:
    save_text(network, tmp_path / "m")
    return tmp_path / "m"


def load(folder: Path) -> Teacher:
    return Teacher.load(ModelCard(id="m", source="folder", location=str(folder)))


@pytest.mark.parametrize(
    ("config", "settings", "length"),
    [
        (BERT, {}, 512),
        (BERT, {"model_max_length": 128}, 128),
        (BERT, {"model_max_length": 1e30}, 512),
        (BERT, {"model_max_length": "many"}, 512),
        (BERT, {"model_max_length": -1}, 512),
        (BERT, {"model_max_length": float("nan")}, 512),
        (BERT | {"max_position_embeddings": 64}, {"model_max_length": 128}, 64),
        (BERT | {"max_position_embeddings": 8192}, {}, 512),
        (ROBERTA | {"max_position_embeddings": 514}, {}, 512),
        (ROBERTA | {"max_position_embeddings": 130}, {"model_max_length": 512}, 128),
        (ROBERTA | {"max_position_embeddings": 130, "pad_token_id": None}, {}, 128),
    ],
)
def test_the_longest_text(config: dict[str, Any], settings: dict[str, Any], length: int) -> None:
    assert max_length(config, settings) == length


def test_a_model_of_few_tokens_is_refused() -> None:
    with pytest.raises(TeacherError, match="takes 4 tokens of a text"):
        max_length(BERT | {"max_position_embeddings": 4}, {})


def test_odd_texts_become_tokens(folder: Path) -> None:
    teacher = load(folder)
    assert teacher.prepare("The FILM").tolist() == [2, 5, 12, 3]
    assert teacher.prepare("").tolist() == [2, 3]
    assert teacher.prepare("film\0").tolist() == [2, 12, 3]  # as BERT cleans it
    assert teacher.prepare("good \ud800").tolist() == [2, 10, 1, 3]
    assert len(teacher.prepare("film " * 200_000)) == 40
    assert len(teacher.prepare("f" * 1_000_000)) == 3
    batch = teacher.collate([teacher.prepare("film"), teacher.prepare("")])
    assert batch.tolist() == [[[2, 12, 3], [1, 1, 1]], [[2, 3, 0], [1, 1, 0]]]


def test_a_text_is_cut_before_it_is_tokenised(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = load(folder)
    seen = []

    class Watched:
        def encode(self, text: str) -> Any:
            seen.append(len(text))
            return tokenizer().encode("film")

    monkeypatch.setattr(teacher.inputs, "tokenizer", Watched())
    teacher.prepare("film " * 200_000)
    assert seen == [4_000]


def test_what_the_file_says_of_padding_and_length_is_not_followed(folder: Path) -> None:
    other = tokenizer()
    other.enable_padding(length=128)
    other.enable_truncation(3)
    other.save(str(folder / "tokenizer.json"))
    assert len(load(folder).prepare("the film was good")) == 6


def test_words_in_a_list_serve_as_well(folder: Path) -> None:
    whole = load(folder).prepare("The film was NOT bad, at all!")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    assert load(folder).prepare("The film was NOT bad, at all!").tolist() == whole.tolist()
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert load(folder).prepare("The film").tolist() == [2, 1, 12, 3]


def test_pairs_of_bytes_are_those_of_transformers(tmp_path: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(["the film was good"] * 9, 280, special_tokens=special)
    config = {"vocab_size": 280, "pad_token_id": 1, "max_position_embeddings": 42}
    save_text(tiny_text("Roberta", **config), tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").unlink()
    trained.save_model(str(tmp_path / "m"))
    teacher = load(tmp_path / "m")
    text = "the film was good, über alles"
    theirs = RobertaTokenizer.from_pretrained(str(tmp_path / "m"))
    assert teacher.prepare(text).tolist() == theirs(text)["input_ids"]
    assert teacher.prepare("good " * 99).shape == (40,)
    assert teacher.outputs(["good " * 99, ""]).features.shape == (2, 32)


HOSTILE = {
    "not json": "{",
    "another json": "[1, 2]",
    "no model": '{"version": "1.0"}',
    "a number as a model": '{"version": "1.0", "model": 7}',
    "empty": "",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_tokenizer_that_is_none_is_refused(folder: Path, content: str) -> None:
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(TeacherError, match=r"tokenizer\.json cannot be read"):
        load(folder)


def test_a_pattern_that_never_ends_is_the_models_fault(folder: Path) -> None:
    parts = json.loads(tokenizer().to_str())
    pattern = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}
    parts["pre_tokenizer"] = pattern | {"invert": False}
    (folder / "tokenizer.json").write_text(json.dumps(parts))
    teacher = load(folder)
    with pytest.raises(TeacherError, match="the tokenizer fails on a text"):
        teacher.prepare("a" * 1_000 + "!")


def test_tokens_that_the_network_does_not_know_are_refused(folder: Path) -> None:
    other = tokenizer()
    other.add_tokens([f"word{number}" for number in range(99)])
    other.save(str(folder / "tokenizer.json"))
    with pytest.raises(TeacherError, match="tokens up to number 133, the network knows 48"):
        load(folder)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ((), "no tokenizer: tokenizer.json, vocab.txt"),
        (("spiece.model",), r"no tokenizer\.json, only spiece\.model"),
        (("vocab.json",), "no tokenizer: tokenizer.json"),
    ],
)
def test_a_missing_tokenizer_is_said_by_card_and_teacher(
    folder: Path, names: tuple[str, ...], reason: str
) -> None:
    (folder / "tokenizer.json").unlink()
    for name in names:
        (folder / name).write_text("x")
    card = folder_card(folder)
    assert card.loadable is False
    with pytest.raises(TeacherError, match=reason):
        raise TeacherError(card.not_loadable_reason or "")
    with pytest.raises(TeacherError, match=reason):
        Teacher.load(card)


def test_a_huge_tokenizer_is_refused(folder: Path) -> None:
    with (folder / "tokenizer.json").open("ab") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(TeacherError, match="larger than 64 MiB"):
        load(folder)


def test_the_key_is_that_of_the_tokenizer(folder: Path, tmp_path: Path, network: Any) -> None:
    card = folder_card(folder)
    twin = save_text(network, tmp_path / "twin")
    key = preprocessing_of(card).key
    assert key == preprocessing_of(twin).key == load(folder).preprocessing.key
    assert preprocessing_of(card).at_most(8).key == key
    other = tokenizer()
    other.add_tokens(["new"])
    other.save(str(tmp_path / "twin" / "tokenizer.json"))
    assert preprocessing_of(twin).key != key
    on_hub = ModelCard(id="a/b", source="hub", modality="text", max_length=40)
    assert preprocessing_of(on_hub) == Tokenization(max_length=40)


def test_weights_of_more_layers_than_the_config_says_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(TeacherError, match=r"encoder\.layer\.2.* has no place in the network"):
        load(folder)
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 6}))
    with pytest.raises(TeacherError, match=r"encoder\.layer\.4.* is missing from the weights"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"problem_type": "multi_label_classification"}, "multi-label .several answers a text"),
        ({"id2label": {"0": "LABEL_0"}}, "regression .one number a text"),
        ({"auto_map": {"AutoModel": "x.Y"}}, "its? own"),
    ],
)
def test_heads_that_do_not_classify_are_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    save_text(tiny_text("Bert", "ForSequenceClassification"), tmp_path / "m")
    file = tmp_path / "m" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    card = folder_card(tmp_path / "m")
    assert card.loadable is False
    with pytest.raises(TeacherError, match=reason):
        raise TeacherError(card.not_loadable_reason or "")


def test_placeholders_are_no_label_names(tmp_path: Path) -> None:
    names = {n: f"LABEL_{n}" for n in range(3)}
    numbers = {name: n for n, name in names.items()}
    end = "ForSequenceClassification"
    network = tiny_text("DistilBert", end, id2label=names, label2id=numbers)
    card = save_text(network, tmp_path / "m")
    assert (card.loadable, card.num_classes, card.labels) == (True, 3, None)


def test_an_encoder_of_sentence_transformers_has_the_name_of_the_whole(
    tmp_path: Path, network: Any
) -> None:
    save_text(network, tmp_path / "sentences" / "0_Transformer")
    (tmp_path / "sentences" / "modules.json").write_text("[]")
    (tmp_path / "sentences" / "1_Pooling").mkdir()
    (tmp_path / "sentences" / "1_Pooling" / "config.json").write_text("{}")
    [model] = find_models(tmp_path)
    assert (model.name, model.path.name) == ("sentences", "0_Transformer")
    assert folder_card(model.path, model=model.name).loadable is True


# --- the Hub, and catalogues of earlier versions


@pytest.mark.journey
def test_a_text_model_of_the_hub_is_found_by_its_task_and_loaded(
    tmp_path: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    save_text(network, tmp_path / "m", settings={"model_max_length": 30})
    (tmp_path / "m" / "README.md").write_text("# m")
    files = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    row = {"library_name": "transformers", "pipeline_tag": "fill-mask", "tags": ["en"]}
    repo = Repo("org/m", row, files)
    database = tmp_path / "catalogue.duckdb"
    with Hub(repos=(repo,)) as hub:
        with Catalogue.open(database, write=True) as catalogue:
            crawl(catalogue, Scope(pipeline_tag="fill-mask"), endpoint=hub.url)
        with Catalogue.open(database) as catalogue:
            [card] = catalogue.cards(models=["org/m"])
        assert (card.modality, card.max_length, card.loadable) == (
            "text",
            40,
            True,
        )  # by its config
        folder = fetch(card, endpoint=hub.url, cache=tmp_path / "hub", wait=0.01)
        names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
        assert {path.name for path in folder.iterdir()} == names
        (folder / "tokenizer.json").unlink()  # a copy that another program made
        folder = fetch(card, endpoint=hub.url, cache=tmp_path / "hub", wait=0.01)
    assert (folder / "tokenizer.json").is_file()
    teacher = Teacher.load(card.__class__(id="m", source="folder", location=str(folder)))
    assert len(teacher.prepare("film " * 99)) == 30


def test_a_catalogue_of_an_earlier_version_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.duckdb"
    with Catalogue.open(path, write=True) as catalogue:
        catalogue.upsert([ModelCard(id="old", source="folder", loadable=True)])
        for name in ("modality", "max_length"):
            catalogue.connection.execute(f"ALTER TABLE models DROP COLUMN {name}")
    with duckdb.connect(str(path)) as connection:
        columns = {row[0] for row in connection.execute("DESCRIBE models").fetchall()}
        assert not {"modality", "max_length"} & columns
        connection.execute(
            f"COPY models TO '{path.with_suffix('.parquet')}' (FORMAT parquet, KV_METADATA"
            " {teacher_zoo_schema: '1'})"
        )
    with Catalogue.open(path) as catalogue:
        [old] = catalogue.cards()
        assert (old.id, old.modality, old.max_length) == ("old", None, None)
    with Catalogue.open(path, write=True) as catalogue:
        catalogue.upsert([ModelCard(id="new", source="folder", modality="text", max_length=9)])
        catalogue.publish()
    with Catalogue.open(path) as catalogue:
        rows = catalogue.models(where="modality = 'text'", columns=["id", "max_length"])
        assert rows.values.tolist() == [["new", 9]]
