"""Students of texts: their vocabulary, tokens and views, states, export and ONNX."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.data.tokens import TokenAugmentation, token_packing, token_row
from distill.data.vocabulary import (
    SPECIAL,
    TokenizerStore,
    open_student_tokenizer,
    train_tokenizer,
)
from distill.kinds.registry import kind_of_export
from distill.kinds.text import TEXT
from distill.options import Options
from distill.predict import predict
from distill.student.text_student import on_positions, reopen
from tests.places import ROOT
from tests.text_setting import CLASSES, sentences, text_spec, text_student
from zoo.errors import UserError

pytestmark = pytest.mark.journey

ODD = ["rain and fog", "[PAD] soup", "zzz ☃ 中国 naïve", "the " * 400]


def test_the_same_texts_give_the_same_vocabulary_in_another_process() -> None:
    texts = sentences(200)[0]
    here = train_tokenizer(texts).to_str()
    code = (
        "import hashlib; from distill.data.vocabulary import train_tokenizer;"
        "from tests.text_setting import sentences;"
        "print(hashlib.sha256(train_tokenizer(sentences(200)[0]).to_str().encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    import hashlib

    assert done.stdout.strip() == hashlib.sha256(here.encode()).hexdigest()
    words = json.loads(here)["model"]["vocab"]
    assert [word for word, _ in sorted(words.items(), key=lambda e: e[1])][:5] == list(SPECIAL)
    assert {"rain", "tomorrow", "some", "##a"} <= set(words)


def test_a_stored_tokenizer_is_found_by_its_content_and_a_damaged_one_is_not(
    tmp_path: Path,
) -> None:
    store = TokenizerStore(tmp_path)
    content = train_tokenizer(sentences(30)[0]).to_str().encode()
    digest = store.add(content)
    assert store.read(digest) == content
    file = next(tmp_path.iterdir())
    file.write_bytes(content.replace(b"rain", b"pain"))
    assert store.read(digest) is None
    assert store.add(content) == digest
    assert store.read(digest) == content


def test_a_row_holds_each_token_plus_one_and_zeros_behind() -> None:
    tokenizer = train_tokenizer(sentences(200)[0])
    words = tokenizer.get_vocab()
    packing = token_packing(open_student_tokenizer(tokenizer.to_str().encode(), 6), 6, "d")
    begin, end = words["[CLS]"] + 1, words["[SEP]"] + 1
    assert packing.pack("rain").tolist() == [begin, words["rain"] + 1, end, 0, 0, 0]
    cut = packing.pack("some rain or some snow or some sun")
    assert cut.tolist()[0] == begin and cut.tolist()[-1] == end  # cut, and ended all the same
    assert cut.tolist()[1:5] == [words[word] + 1 for word in ("some", "rain", "or", "some")]
    assert packing.pack("").tolist() == [begin, end, 0, 0, 0, 0]
    assert packing.pack("\ud800 rain").dtype == np.int32  # half a character is no error


def _rows(count: int = 40, *, length: int = 20) -> torch.Tensor:
    """Rows of 10 to 20 tokens numbered 10 and up, between 2 and 3, plus one."""
    rows = torch.zeros(count, length, dtype=torch.int32)
    for place in range(count):
        n = 10 + place % (length - 9)
        rows[place, :n] = torch.arange(10, 10 + n) + 1
        rows[place, 0], rows[place, n - 1] = 3, 4
    return rows


def test_a_view_masks_a_tenth_of_the_tokens_and_no_special_one() -> None:
    augmentation = TokenAugmentation(mask=0.1, mask_id=4, special=(0, 2, 3, 4))
    rows, index = _rows(400), torch.arange(400)
    shown = augmentation.render(rows, index, torch.zeros_like(index), seed=1, size=20).inputs
    masked = shown == 5
    words = (rows > 0) & (rows != 3) & (rows != 4)
    assert not (masked & ~words).any()
    assert (shown[~masked] == rows.long()[~masked]).all()
    assert 0.085 < float(masked.sum() / words.sum()) < 0.115


def test_a_view_is_a_function_of_seed_view_and_row_alone() -> None:
    augmentation = TokenAugmentation(mask=0.3, drop=0.2, mask_id=4, special=(0, 2, 3, 4))
    rows, index = _rows(), torch.arange(40)
    views = index % 3
    whole = augmentation.render(rows, index, views, seed=5, size=20).inputs
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    for part in order.split(7):
        again = augmentation.render(rows, part, views[part], seed=5, size=20).inputs
        length = again.shape[1]
        assert (again == whole[part, :length]).all() and not whole[part, length:].any()
    other = augmentation.render(rows, index, views + 1, seed=5, size=20).inputs
    assert other.shape != whole.shape or (other != whole).any(dim=1).sum() > 30
    # what is dropped leaves no gap
    lengths = (whole > 0).sum(1)
    assert all((row[:n] > 0).all() for row, n in zip(whole, lengths, strict=True))
    assert (lengths < (rows > 0).sum(1)).sum() > 20


def test_positions_are_the_means_of_their_tokens() -> None:
    states = torch.arange(8.0).view(1, 8, 1).repeat(2, 1, 3)
    states[0, 6:] = 1e6  # padding
    mask = torch.tensor([[1] * 6 + [0] * 2, [1] * 8])
    grid = on_positions(states, mask, positions=4)
    assert grid.shape == (2, 3, 4, 1)
    # six tokens: 0-1, 1-2, 3-4, 4-5, as adaptive average pooling cuts them
    assert grid[0, 0, :, 0].tolist() == [0.5, 1.5, 3.5, 4.5]
    assert grid[1, 2, :, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    expected = torch.nn.functional.adaptive_avg_pool1d(states[:1, :6].mT, 4)
    torch.testing.assert_close(grid[0, :, :, 0], expected[0])


def test_padding_changes_no_answer() -> None:
    student = text_student().eval()
    rows = torch.from_numpy(np.stack([token_row(student.tokenizer, 16, t) for t in ODD]))
    alone = torch.cat([student.logits(row[None]) for row in rows])
    torch.testing.assert_close(student.logits(rows), alone, atol=1e-5, rtol=1e-5)
    state = student(rows.long())
    assert state.features.shape == (4, 64)
    assert state.hidden.shape == state.low.shape == (4, 64, 16, 1)
    assert not torch.equal(state.hidden, state.low)


def test_texts_are_answered_alike_in_groups_of_like_length_and_one_by_one() -> None:
    student = text_student(size=40).eval()
    lengths = torch.tensor([40, 3, 17, 5, 29, 4, 8, 33, 12])
    place = torch.arange(40)
    view = torch.where(place < lengths[:, None], 7 + (lengths[:, None] * place) % 50, 0)
    together = student(view)
    for row, length in enumerate(lengths):
        alone = student(view[row : row + 1, :length])
        for name in ("logits", "features", "hidden", "low"):
            one, of_all = getattr(alone, name)[0], getattr(together, name)[row]
            torch.testing.assert_close(of_all, one, atol=1e-5, rtol=1e-4)


def test_the_weights_are_as_wide_as_the_width_asks() -> None:
    for width in (64, 256):
        network = text_spec(architecture=f"bert-2x{width}").create(CLASSES, seed=0).network
        weight = network.bert.encoder.layer[0].attention.self.query.weight
        assert float(weight.detach().std()) == pytest.approx(width**-0.5, rel=0.05)


def test_the_seed_draws_the_weights() -> None:
    first, again, other = (text_student(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_export_answers_as_the_student_in_plain_transformers(tmp_path: Path) -> None:
    from transformers import pipeline

    student = text_student(seed=3)
    student.export(tmp_path)
    rows = torch.from_numpy(np.stack([token_row(student.tokenizer, 16, t) for t in ODD]))
    expected = student.logits(rows).softmax(1)
    classifier = pipeline("text-classification", str(tmp_path), top_k=None, device="cpu")
    for answer, shares in zip(classifier(ODD, truncation=True), expected, strict=True):
        by_name = {entry["label"]: entry["score"] for entry in answer}
        assert [by_name[name] for name in CLASSES] == pytest.approx(shares.tolist(), abs=1e-5)
    assert kind_of_export(tmp_path) is TEXT
    opened = reopen(tmp_path)
    assert opened.classes == CLASSES
    answers = list(predict(tmp_path, ODD, top=3))
    assert [answer.sample for answer in answers] == ODD
    for prediction, shares in zip(answers, expected, strict=True):
        assert [name for name, _ in prediction.classes] == [
            CLASSES[place] for place in shares.argsort(descending=True)
        ]
        assert dict(prediction.classes)[CLASSES[0]] == pytest.approx(float(shares[0]), abs=1e-5)


def test_the_export_is_a_teacher_like_any_other(tmp_path: Path) -> None:
    from zoo.sources import folder
    from zoo.teacher import Teacher

    student = text_student(seed=3)
    student.export(tmp_path / "student")
    card = folder.card(tmp_path / "student")
    assert card.modality == "text"
    assert card.labels == CLASSES
    teacher = Teacher.load(card, offline=True)
    rows = torch.from_numpy(np.stack([token_row(student.tokenizer, 16, t) for t in ODD]))
    outputs = teacher.outputs(ODD)
    assert outputs.logits is not None
    np.testing.assert_allclose(outputs.logits, student.logits(rows).numpy(), atol=1e-5)


def test_an_encoder_folder_is_the_start_of_a_student(tmp_path: Path) -> None:
    from distill.student.text_student import encoder_network, folder_tokenizer

    source = text_student(seed=3)
    source.export(tmp_path)
    start = encoder_network(tmp_path, 5, pretrained=True)
    assert start.num_labels == 5
    kept = source.network.bert.state_dict()
    again = start.bert.state_dict()
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    fresh = encoder_network(tmp_path, 5, pretrained=False).bert.state_dict()
    assert not torch.equal(
        fresh["embeddings.word_embeddings.weight"], kept["embeddings.word_embeddings.weight"]
    )
    content, length = folder_tokenizer(tmp_path)
    assert length == 16
    tokenizer = open_student_tokenizer(content, 16)
    assert tokenizer.encode(ODD[2]).ids == source.tokenizer.encode(ODD[2]).ids


@pytest.mark.parametrize(
    ("student", "more", "message"),
    [
        ("bert-2x128", {"pretrained": True}, "has no pretrained weights"),
        ("resnet18", {}, "is no student for texts; expected bert-LxW"),
        ("bert-2x100", {"student_args": '{"num_attention_heads": 3}'}, "cannot be made"),
        ("bert-2x128", {"student_args": '{"nonsense": 1}'}, "has no 'nonsense'"),
    ],
)
def test_a_student_that_cannot_be_is_named(
    student: str, more: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        TEXT.check_student(Options(student=student, **more))  # type: ignore[arg-type]


@pytest.mark.journey
def test_the_onnx_student_has_the_same_logits_and_its_tokenizer(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from tokenizers import Tokenizer

    student = text_student(seed=3)
    student.export(tmp_path)
    path = TEXT.write_onnx(tmp_path)
    facts = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert json.loads(facts["label_names"]) == list(CLASSES)
    tokenizer = Tokenizer.from_str(facts["tokenizer"])
    tokenizer.enable_truncation(int(facts["max_length"]))
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = torch.from_numpy(np.stack([token_row(student.tokenizer, 16, t) for t in ODD]))
    for text, expected in zip(ODD, student.logits(rows), strict=True):
        ids = np.array([tokenizer.encode(text).ids])
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        np.testing.assert_allclose(session.run(None, inputs)[0][0], expected, atol=1e-4)


@pytest.mark.journey
def test_the_8_bit_student_is_smaller_and_its_accuracy_is_that_of_its_logits(
    tmp_path: Path,
) -> None:
    pytest.importorskip("onnxruntime")
    from distill.data.samples import Samples

    student = text_student(seed=3)
    student.export(tmp_path)
    texts, labels = sentences(60, seed=4)
    rows = np.stack([token_row(student.tokenizer, 16, text) for text in texts])
    answers = student.logits(torch.from_numpy(rows)).argmax(1).numpy()
    labels = np.where(np.arange(60) < 45, answers, (answers + 1) % 3)  # 75 % are right
    samples = Samples(inputs=rows, labels=labels, usable=np.arange(60), digest="d")
    int8 = TEXT.write_int8(tmp_path, samples, samples)
    assert int8.float_accuracy == 0.75
    assert abs(int8.accuracy - 0.75) <= 0.15
    floats, small = (tmp_path / name for name in ("model.onnx", "model.int8.onnx"))
    assert small.stat().st_size < 0.7 * floats.stat().st_size
