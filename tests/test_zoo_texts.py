"""Text encoders as teachers: every family against transformers itself, and cut in two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.places import SHARED
from tests.tiny_texts import LONGEST, NAMES, save_text, tiny_text
from zoo.loading.backbones import obstacle
from zoo.loading.transformers.families import FAMILIES, HEAD
from zoo.split_teacher import CannotSplit, SplitTeacher
from zoo.teacher import Teacher

pytestmark = pytest.mark.journey

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = (
    "the film was not bad at all",
    "",
    "good",
    "the battery died after a week , and it was quite slow . very long text !",
)
UNCUT = {
    "Albert": "no chain of layers",  # its layers are one layer, used again and again
    "ConvBert": "lets padding change",
    "SqueezeBert": "need more than the state",  # it keeps its channels first
}
# Which class of the family has a head that is left out, where it is not ForMaskedLM.
OTHER_END = {"Gte": "ForMaskedLM"}


def reference(network: Any, teacher: Teacher, text: str) -> tuple[Any, Any]:
    """By transformers alone: one text, no padding; the mean over layers and tokens, the logits."""
    ids = teacher.inputs.tokenizer.encode(text).ids  # type: ignore[union-attr]
    with torch.no_grad():
        outputs = network(input_ids=torch.tensor([ids]), output_hidden_states=True)
    states = [state[0].numpy() for state in outputs.hidden_states][1:]
    logits = outputs.logits[0].numpy() if "logits" in outputs else None
    return np.mean([state.mean(0) for state in states], axis=0), logits


@pytest.mark.journey
@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_the_mean_over_layers_and_tokens(tmp_path: Path, family: str) -> None:
    network = tiny_text(family)
    card = save_text(network, tmp_path / "m")
    assert (card.loadable, card.modality, card.not_loadable_reason) == (True, "text", None)
    teacher = Teacher.load(card)
    assert (teacher.modality, teacher.num_classes, teacher.classifier) == ("text", 0, None)
    features, logits = teacher.outputs(TEXTS)
    assert logits is None
    assert features.shape == (4, teacher.feature_dim)
    assert card.feature_dim == teacher.feature_dim
    for text, row in zip(TEXTS, features, strict=True):  # a batch of long and short: no padding
        wanted, _ = reference(network, teacher, text)
        np.testing.assert_allclose(row, wanted, atol=1e-5)
        np.testing.assert_allclose(teacher.outputs([text]).features[0], wanted, atol=1e-5)


@pytest.mark.journey
@pytest.mark.parametrize("family", FAMILIES)
def test_a_classifier_answers_as_in_transformers(tmp_path: Path, family: str) -> None:
    network = tiny_text(family, HEAD)
    card = save_text(network, tmp_path / "m")
    assert (card.num_classes, card.labels) == (3, tuple(NAMES.values()))
    teacher = Teacher.load(card)
    assert teacher.labels == ("joy", "anger", "fear")
    features, logits = teacher.outputs(TEXTS)
    assert logits is not None
    for text, row, answer in zip(TEXTS, features, logits, strict=True):
        wanted, answers = reference(network, teacher, text)
        np.testing.assert_allclose(row, wanted, atol=1e-5)
        np.testing.assert_allclose(answer, answers, atol=1e-5)


@pytest.mark.journey
@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_of_a_language_model_is_left_out(tmp_path: Path, family: str) -> None:
    end = OTHER_END.get(family, "ForMaskedLM")
    network = tiny_text(family, end)
    teacher = Teacher.load(save_text(network, tmp_path / "m"))
    assert type(teacher.module).__name__ == f"{family}Model"
    wanted, _ = reference(network, teacher, TEXTS[0])
    np.testing.assert_allclose(teacher.outputs(TEXTS[:1]).features[0], wanted, atol=1e-5)


@pytest.mark.journey
@pytest.mark.parametrize("end", ["Model", HEAD])
@pytest.mark.parametrize("family", FAMILIES)
def test_lower_then_upper_is_the_teacher(tmp_path: Path, family: str, end: str) -> None:
    network = tiny_text(family, end)
    teacher = Teacher.load(save_text(network, tmp_path / "m"))
    if family in UNCUT:
        with pytest.raises(CannotSplit, match=UNCUT[family]):
            SplitTeacher(teacher)
        return
    split = SplitTeacher(teacher)
    assert (split.state, split.grid, split.channels) == ((32, 16, 1), (16, 1), 32)
    inputs = teacher.normalise(teacher.collate([teacher.prepare(text) for text in TEXTS]))
    hidden = split.lower(inputs)
    assert hidden.shape == (4, 32, inputs.shape[2], 1)
    halves = split.upper(hidden, inputs)
    with torch.no_grad():
        ids, mask = inputs.unbind(1)
        whole = network(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    top = whole.hidden_states[-1]  # three of four layers lie below the cut
    wanted = torch.stack([row[keep].mean(0) for row, keep in zip(top, mask.bool(), strict=True)])
    torch.testing.assert_close(halves.features, wanted, atol=1e-5, rtol=1e-5)
    if end == HEAD:
        torch.testing.assert_close(halves.logits, whole.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.journey
def test_a_state_of_another_length_runs_through_the_upper_half(tmp_path: Path) -> None:
    teacher = Teacher.load(save_text(tiny_text("Bert", HEAD), tmp_path / "m"))
    split = SplitTeacher(teacher)
    batch = teacher.collate([teacher.prepare(text) for text in TEXTS])
    stored = split.stored_state(batch)
    assert stored.shape == (4, 32, 16, 1)
    for row, text in zip(stored, TEXTS, strict=True):  # padding is no part of it
        alone = split.stored_state(teacher.collate([teacher.prepare(text)]))[0]
        torch.testing.assert_close(row, alone, atol=1e-5, rtol=1e-5)
    short = split.lower(teacher.collate([teacher.prepare("good film")]))[..., 0]  # (1, c, 4)
    four = split.stored_state(teacher.collate([teacher.prepare("good film")]))[..., 0]
    torch.testing.assert_close(four, short.repeat_interleave(4, dim=2))
    state = stored.clone().requires_grad_()
    split.upper(split.join(state)).features.square().sum().backward()
    assert state.grad is not None and float(state.grad.abs().min()) > 0
    assert all(parameter.grad is None for parameter in teacher.module.parameters())
    assert not torch.allclose(
        split.shuffled(0).upper(stored).features, split.upper(stored).features, atol=1e-3
    )


def test_every_known_encoder_is_read_by_its_name() -> None:
    for family in FAMILIES:
        for end in ("Model", "ForMaskedLM", HEAD):
            assert obstacle({}, family + end) is None


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_is_read_as_float32(tmp_path: Path, half: str) -> None:
    network = tiny_text("Bert").to(getattr(torch, half))
    teacher = Teacher.load(save_text(network, tmp_path / "m"))
    assert {p.dtype for p in teacher.module.parameters()} == {torch.float32}
    wanted, _ = reference(network.float(), teacher, TEXTS[0])
    np.testing.assert_allclose(teacher.outputs(TEXTS[:1]).features[0], wanted, atol=1e-5)


def test_texts_are_cut_at_the_longest_that_the_model_takes(tmp_path: Path) -> None:
    teacher = Teacher.load(save_text(tiny_text("Bert"), tmp_path / "m"))
    ids = teacher.prepare("the film " * 100)
    assert len(ids) == LONGEST
    assert (int(ids[0]), int(ids[-1])) == (2, 3)
    assert teacher.outputs(["the film " * 100]).features.shape == (1, 32)


@pytest.mark.skipif(not (SHARED / "text_models").is_dir(), reason="no ../shared/text_models")
@pytest.mark.journey
def test_a_real_sentence_model_knows_what_is_alike() -> None:
    from zoo.sources.folder import card as folder_card

    card = folder_card(SHARED / "text_models" / "paraphrase-MiniLM-L3-v2")
    assert (card.loadable, card.modality, card.max_length) == (True, "text", 512)
    assert (card.languages, card.license) == (("en",), "apache-2.0")
    teacher = Teacher.load(card)
    texts = ["How old are you?", "What is your age?", "The train left the station."]
    rows = teacher.outputs(texts).features
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    alike, other = rows[0] @ rows[1], rows[0] @ rows[2]
    assert alike > other + 0.2
