"""The student of texts: an encoder of transformers and its tokenizer.

Shapes: B texts of a batch, n tokens of the longest, D the width of the network, C classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from distill.data.batch import StudentState
from distill.data.tokens import without_padding
from distill.data.vocabulary import TokenizerStore, open_student_tokenizer
from distill.student.student import ExportedStudent, Student, exported_config
from zoo.errors import TeacherError, UserError
from zoo.files import write_bytes, write_json
from zoo.home import tokenizer_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from selection.task import Task
    from zoo.loading.inputs.tokenization import Tokenization

DEFAULT = "bert-2x128"
POSITIONS = 512  # of the table of an own network; longer than any training text
GRID = 16  # positions that hidden states are averaged onto
GROUPS = 2  # of texts alike in length, that a batch is computed in on a processor
_OWN = re.compile(r"bert-(\d{1,2})x(\d{2,4})")
_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
_USUAL = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


@dataclass(frozen=True, kw_only=True)
class TextSpec:
    """Which network: ``bert-LxW`` (L layers of width W) or an encoder's ``folder``.

    ``size`` is the most tokens of a text, ``tokenizer`` the digest of the file in the
    `TokenizerStore`. With ``pretrained`` training starts from the weights in ``folder``;
    ``model_args`` change the network's config.
    """

    architecture: str
    size: int
    tokenizer: str
    pretrained: bool = False
    model_args: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None

    def create(self, classes: tuple[str, ...], *, seed: int) -> TextStudent:
        """See `distill.student.student.StudentSpec`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            tokenizer = stored_tokenizer(self)
            if self.folder is None:
                network = own_network(self, len(classes), tokenizer.get_vocab_size())
            else:
                network = encoder_network(
                    Path(self.folder), len(classes), pretrained=self.pretrained
                )
            return TextStudent(network, self, classes, tokenizer)


def stored_tokenizer(spec: TextSpec) -> Tokenizer:
    """The tokenizer of ``spec``; ``UserError`` where it was removed."""
    content = TokenizerStore(tokenizer_folder()).read(spec.tokenizer)
    if content is None:
        raise UserError(
            f"the tokenizer of the student is missing from {tokenizer_folder()}: give the same"
            " command again"
        )
    return open_student_tokenizer(content, spec.size)


def own_sizes(student: str) -> tuple[int, int] | None:
    """Layers and width of a name ``bert-LxW``; None of another text."""
    matched = _OWN.fullmatch(student)
    return (int(matched[1]), int(matched[2])) if matched else None


def own_network(spec: TextSpec, classes: int, words: int) -> Any:
    """A BERT of the layers and width that ``spec`` names, weights drawn from torch's state.

    Their deviation is 1 / sqrt(width), which keeps the size of what a layer passes on: BERT's 0.02
    suits its width of 768, and in a narrow network lets the first token hear too little of the
    others (150 intents after 500 steps: 25 % with 0.02, 65 % with 0.09).
    """
    import transformers

    sizes = own_sizes(spec.architecture)
    assert sizes is not None
    layers, width = sizes
    arguments = {
        "vocab_size": words,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 64),
        "intermediate_size": 4 * width,
        "max_position_embeddings": max(POSITIONS, spec.size),
        "num_labels": classes,
        "pad_token_id": 0,
        "initializer_range": width**-0.5,
    }
    unknown = set(spec.model_args) - set(transformers.BertConfig().to_dict())
    if unknown:
        raise UserError(
            f"--student-args: a BERT has no {sorted(unknown)[0]!r}; expected a field of"
            " transformers.BertConfig, such as hidden_dropout_prob"
        )
    try:
        config = transformers.BertConfig(**(arguments | dict(spec.model_args)))
        return transformers.BertForSequenceClassification(config)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"student {spec.architecture} cannot be made: {error}") from error


def folder_tokenization(folder: Path) -> Tokenization:
    """How the encoder in ``folder`` wants its texts; ``UserError`` where it is none."""
    from zoo.loading.inputs.preprocessing import read_json
    from zoo.loading.inputs.tokenization import SETTINGS, is_text_config, tokenization_of

    try:
        config = read_json(folder / "config.json")
        if not is_text_config(config):
            raise TeacherError("its config.json names no text encoder of transformers")
        settings = read_json(folder / SETTINGS) if (folder / SETTINGS).exists() else {}
        return tokenization_of(config, folder, settings)
    except TeacherError as error:
        raise _unusable(folder, error) from error


def folder_tokenizer(folder: Path) -> tuple[bytes, int]:
    """The ``tokenizer.json`` of the encoder in ``folder``, opened as a teacher's is, and the most
    tokens that it takes.
    """
    from zoo.loading.inputs.tokenizer_files import open_tokenizer

    tokenization = folder_tokenization(folder)
    try:
        tokenizer = open_tokenizer(tokenization)
    except TeacherError as error:
        raise _unusable(folder, error) from error
    tokenizer.no_truncation()
    return tokenizer.to_str().encode(), tokenization.max_length


def encoder_network(folder: Path, classes: int, *, pretrained: bool) -> Any:
    """The classifier that the config in ``folder`` describes, with a new head for ``classes``.

    With ``pretrained`` its encoder has the folder's weights, opened as safely as a teacher.
    """
    from zoo.loading.inputs.preprocessing import read_json
    from zoo.loading.network import load
    from zoo.loading.transformers.families import HEAD, encoder
    from zoo.loading.transformers.network import build

    try:
        config = read_json(folder / "config.json")
        known = encoder(next(iter(config.get("architectures") or [None])))
        if known is None:
            raise TeacherError("its config.json names no text encoder of transformers")
        if known.family.sees_padding:
            raise TeacherError("its answers depend on the padding of a batch")
        family = known.built.removesuffix(HEAD).removesuffix("Model")
        labels = {str(number): str(number) for number in range(classes)}
        changed = {name: value for name, value in config.items() if name not in _HEAD_SETTINGS}
        changed |= {
            "architectures": [family + HEAD],
            "id2label": labels,
            "label2id": {name: int(number) for number, name in labels.items()},
        }
        network = build(changed).module
        if pretrained:
            source = load(folder, folder_tokenization(folder)).module
            _copy_trunk(source, network)
    except TeacherError as error:
        raise _unusable(folder, error) from error
    return network.train().requires_grad_(True)


_HEAD_SETTINGS = ("num_labels", "problem_type", "_num_labels", "id2label", "label2id")


def _copy_trunk(source: Any, network: Any) -> None:
    """The encoder's weights of ``source``, which may have a head of its own, into ``network``."""
    trunk = getattr(source, source.base_model_prefix, source)
    target = getattr(network, network.base_model_prefix)
    report = target.load_state_dict(trunk.state_dict(), strict=False)
    lacking = [name for name in report.missing_keys if not name.startswith("pooler")]
    if lacking:
        raise TeacherError(f"tensor {lacking[0]!r} is missing from the weights")


def _unusable(folder: Path, error: TeacherError) -> UserError:
    return UserError(
        f"--student {folder} cannot be opened: {error}; expected a text encoder's folder with"
        " config.json, model.safetensors and tokenizer.json, or a name such as bert-2x128"
    )


class TextStudent(Student):
    """A classifier of transformers that takes rows of tokens and returns its states.

    A view is (B, n) int64: the number of each token plus one, zeros behind the text.
    """

    def __init__(
        self,
        network: Any,
        spec: TextSpec,
        classes: tuple[str, ...],
        tokenizer: Tokenizer,
    ) -> None:
        super().__init__()
        self.network, self.spec, self.classes = network, spec, classes
        self.tokenizer = tokenizer
        self.padding = int(network.config.pad_token_id or 0)
        self._features: Tensor | None = None  # of the present forward pass
        _last_linear(network, len(classes)).register_forward_pre_hook(self._keep_features)
        self.keep_shapes(
            torch.arange(1, 2 * spec.size + 1).view(2, -1) % tokenizer.get_vocab_size()
        )

    def forward(self, view: Tensor) -> StudentState:
        """See `Student.forward`; ``hidden`` and ``low`` are (B, c, 16, 1).

        On a processor short texts are computed apart from long ones: padding costs as much as text.
        """
        if view.device.type != "cpu" or len(view) < 2 * GROUPS:
            return self._states(view)
        order = (view > 0).sum(dim=1).argsort(stable=True)  # (B,)
        groups = [self._states(without_padding(view[rows])) for rows in order.chunk(GROUPS)]
        place = order.argsort()
        return StudentState(
            logits=torch.cat([group.logits for group in groups])[place],
            features=torch.cat([group.features for group in groups])[place],
            hidden=torch.cat([group.hidden for group in groups])[place],
            low=torch.cat([group.low for group in groups])[place],
        )

    def _states(self, view: Tensor) -> StudentState:
        """The states of texts that are padded to the longest of them."""
        mask = (view > 0).long()  # (B, n)
        ids = torch.where(view > 0, view - 1, self.padding)
        outputs = self.network(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        states = outputs.hidden_states  # the embeddings, then each layer
        assert self._features is not None
        features, self._features = self._features, None
        return StudentState(
            logits=outputs.logits,
            features=features,
            hidden=on_positions(states[-1], mask),
            low=on_positions(states[max(1, (len(states) - 1) // 2)], mask),
        )

    def plain_view(self, inputs: Tensor) -> Tensor:
        """(B, L) int32 -> (B, n) int64."""
        return without_padding(inputs.long())

    def _keep_features(self, module: nn.Module, given: Any) -> None:
        self._features = given[0]

    def export(self, folder: Path, *, task: Task | None = None) -> None:
        """See `Student.export`; ``pipeline("text-classification", FOLDER)`` opens it."""
        from safetensors.torch import save

        state = {
            name: value.detach().cpu().contiguous().clone()
            for name, value in self.network.state_dict().items()
        }
        write_bytes(folder / "model.safetensors", save(state, metadata={"format": "pt"}))
        content = TokenizerStore(tokenizer_folder()).read(self.spec.tokenizer)
        assert content is not None, "read when the student was made"
        write_bytes(folder / "tokenizer.json", content)
        write_json(folder / "tokenizer_config.json", tokenizer_settings(content, self.spec.size))
        config = self.network.config.to_dict()
        config |= {
            "architectures": [type(self.network).__name__],
            "id2label": {str(number): name for number, name in enumerate(self.classes)},
            "label2id": {name: number for number, name in enumerate(self.classes)},
            "problem_type": "single_label_classification",
        }
        write_json(folder / "config.json", {k: v for k, v in config.items() if k[:1] != "_"})


def _last_linear(network: nn.Module, classes: int) -> nn.Module:
    """The layer that gives the logits."""
    layers = [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    ]
    return layers[-1]


def on_positions(states: Tensor, mask: Tensor, positions: int = GRID) -> Tensor:
    """(B, n, c) averaged over the tokens that ``mask`` (B, n) keeps onto (B, c, positions, 1).

    Position g holds the mean of the tokens from g n / positions to (g + 1) n / positions; a text of
    fewer tokens repeats them. Kept tokens come first.
    """
    lengths = mask.sum(dim=1, keepdim=True).clamp(min=1)  # (B, 1)
    grid = torch.arange(positions, device=mask.device)  # (g,)
    first = (grid * lengths) // positions  # (B, g)
    last = -(-((grid + 1) * lengths) // positions)  # (B, g)
    place = torch.arange(states.shape[1], device=mask.device)  # (n,)
    within = (place >= first[..., None]) & (place < last[..., None])  # (B, g, n)
    weights = within.to(states.dtype) / (last - first)[..., None].to(states.dtype)
    return (weights @ states).mT.unsqueeze(-1)


def tokenizer_settings(content: bytes, size: int) -> dict[str, Any]:
    """What ``tokenizer_config.json`` says: the special tokens, and where texts are cut."""
    words = special_words(json.loads(content))
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": size,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **words,
    }


def special_words(tokenizer: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens among the added ones of a ``tokenizer.json``, by transformers' names."""
    present = {entry["content"] for entry in tokenizer.get("added_tokens", ())}
    chosen = {name: [word for word in _USUAL[name] if word in present] for name in _NAMES}
    return {name: words[0] for name, words in chosen.items() if words}


class _Answering(nn.Module):
    """A classifier that takes (B, 2, n) tokens and mask, and returns logits alone."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Tensor) -> Tensor:
        tokens, mask = batch.unbind(1)
        logits: Tensor = self.network(input_ids=tokens, attention_mask=mask).logits
        return logits


def reopen(folder: Path) -> ExportedStudent:
    """An exported student of texts; ``UserError`` where ``folder`` holds none."""
    from zoo.loading.network import load

    config = exported_config(folder)
    names = config.get("id2label")
    if not isinstance(names, dict) or not names:
        raise UserError(
            f"{folder} is not an exported student (its config.json has no id2label); give the"
            " student/ folder of a run"
        )
    try:
        tokenization = folder_tokenization(folder)
        network = load(folder, tokenization)
    except (TeacherError, UserError) as error:
        raise UserError(f"the student in {folder} cannot be opened: {error}") from error
    if network.num_classes != len(names):
        raise UserError(
            f"{folder} is not an exported student ({len(names)} names of {network.num_classes}"
            " classes); give the student/ folder of a run"
        )
    example = torch.ones(1, 2, tokenization.max_length, dtype=torch.int64)
    return ExportedStudent(
        name=str(config["model_type"]),
        network=_Answering(network.module).eval(),
        classes=tuple(str(names[str(number)]) for number in range(len(names))),
        config=config,
        example=example,
    )
