"""Texts: small encoders of transformers, hidden tokens."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from distill.data.text_files import SUFFIXES, texts_of_file
from distill.data.tokens import TokenAugmentation, token_ids, token_packing
from distill.data.vocabulary import TokenizerStore, open_student_tokenizer, usual_length
from distill.kinds import classes
from distill.kinds.kind import (
    OptimizerDefaults,
    Packings,
    Readable,
    StudentSetup,
    TrainingKind,
)
from distill.options import Options
from distill.student.student import ExportedStudent
from distill.student.text_onnx import write_int8, write_onnx
from distill.student.text_student import (
    DEFAULT,
    GRID,
    TextSpec,
    encoder_network,
    folder_tokenization,
    folder_tokenizer,
    own_network,
    own_sizes,
    reopen,
    special_words,
    stored_tokenizer,
)
from zoo.errors import UserError
from zoo.home import tokenizer_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from selection.task import Task

OPTIMIZERS = {
    "adamw": OptimizerDefaults(rate=1e-3, pretrained_rate=1e-4, weight_decay=0.05),
    "sgd": OptimizerDefaults(rate=0.05, pretrained_rate=0.01, weight_decay=5e-4),
}
STEPS = 600
STDIN = "-"


def _takes(student: str) -> bool:
    """Whether ``student`` is a name of an own network, or the folder of a text encoder."""
    from zoo.loading.inputs.tokenization import is_text_config

    if own_sizes(student):
        return True
    try:
        config = json.loads((Path(student) / "config.json").read_text(encoding="utf-8"))
        return isinstance(config, dict) and is_text_config(config)
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _check_student(options: Options) -> None:
    student, folder = options.student, Path(options.student)
    if own_sizes(student):
        if options.pretrained:
            raise UserError(
                f"--student {student} is a network of our own, which has no pretrained weights:"
                " leave out --pretrained, or give the folder of a text encoder"
            )
        spec = TextSpec(
            architecture=student,
            size=options.max_length or 128,
            tokenizer="",
            model_args=options.network_arguments,
        )
        own_network(spec, 2, 100)
        return
    if not folder.is_dir():
        raise UserError(
            f"--student {student} is no student for texts; expected bert-LxW (layers and width),"
            f" such as {DEFAULT}, which is the default, or the folder of a text encoder"
        )
    tokenization = folder_tokenization(folder)
    if options.max_length and options.max_length > tokenization.max_length:
        raise UserError(
            f"--max-length {options.max_length}: {student} takes {tokenization.max_length} tokens"
            " at most"
        )
    folder_tokenizer(folder)
    encoder_network(folder, 2, pretrained=options.pretrained)


def _set_up(options: Options, task: Task) -> StudentSetup:
    """What the options leave open follows from the texts."""
    store = TokenizerStore(tokenizer_folder())
    student, most = options.student, None
    if own_sizes(student):
        splits = [task.train] + ([] if task.unlabelled is None else [task.unlabelled])
        digest = store.of_texts(splits)
    else:
        content, most = folder_tokenizer(Path(student))
        digest = store.add(content)
    kept = store.read(digest)
    assert kept is not None, "it was stored just now"
    size = options.max_length
    if size is None:
        size = usual_length(open_student_tokenizer(kept, 128), task.train)
        size = min(size, most or size)
    spec = TextSpec(
        architecture=student if own_sizes(student) else _architecture(Path(student)),
        size=size,
        tokenizer=digest,
        pretrained=options.pretrained,
        model_args=options.network_arguments,
        folder=None if own_sizes(student) else student,
    )
    return StudentSetup(spec, _augmentation(kept))


def _architecture(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return str(config["architectures"][0])


def _augmentation(content: bytes) -> TokenAugmentation:
    """Masks a tenth of the tokens, if the tokenizer has a mask, and never a special one."""
    entries = json.loads(content).get("added_tokens", ())
    numbers = {entry["content"]: int(entry["id"]) for entry in entries}
    words = special_words(json.loads(content))
    special = [numbers[word] for name, word in words.items() if name != "unk_token"]
    mask = words.get("mask_token")
    return TokenAugmentation(
        mask_id=None if mask is None else numbers[mask],
        special=tuple(sorted(special)),
    )


def _packings(task: Task, spec: TextSpec) -> Packings:
    """All splits are packed alike."""
    packing = token_packing(stored_tokenizer(spec), spec.size, spec.tokenizer)
    return Packings(packing, packing)


def _resolved(spec: TextSpec, augmentation: TokenAugmentation) -> dict[str, Any]:
    return {"max_length": spec.size, "student": spec.folder or spec.architecture}


def _is_export(config: Mapping[str, Any]) -> bool:
    return "architecture" not in config and "model_type" in config


def _readables(
    folder: Path, student: ExportedStudent, given: Sequence[str | Path]
) -> Iterable[Readable]:
    """Texts; ``-`` stands for the lines of stdin, a file of texts for its texts."""
    tokenization = folder_tokenization(folder)
    content, _ = folder_tokenizer(folder)
    tokenizer = open_student_tokenizer(content, tokenization.max_length)
    for text in _texts(given):
        yield Readable(text, partial(_read, tokenizer, tokenization.max_length, text))


def _read(tokenizer: Tokenizer, length: int, text: str) -> Tensor:
    """(n,) int64 the tokens of a text."""
    if not text.strip():
        raise ValueError("the text is empty")
    return torch.tensor(token_ids(tokenizer, length, text), dtype=torch.int64)


def _texts(given: Sequence[str | Path]) -> Iterator[str]:
    for item in given:
        if item == STDIN:
            for line in sys.stdin:
                yield line.rstrip("\r\n")
        elif (path := _file(item)) is None:
            yield str(item)
        else:
            yield from texts_of_file(path)


def _file(item: str | Path) -> Path | None:
    """The file of texts that ``item`` names; None where it is a text itself."""
    if isinstance(item, Path):
        return item
    if len(item) > 1_000 or "\n" in item:
        return None
    path = Path(item)
    return path if path.suffix.lower() in SUFFIXES and path.is_file() else None


def _collate(inputs: Sequence[Tensor]) -> Tensor:
    """(B, 2, n) tokens and mask; what stands behind a text is masked, so any number serves."""
    longest = max(len(ids) for ids in inputs)
    batch = torch.zeros(len(inputs), 2, longest, dtype=torch.int64)
    for row, ids in zip(batch, inputs, strict=True):
        row[0, : len(ids)] = ids
        row[1, : len(ids)] = 1
    return batch


def _opening() -> list[str]:
    return [
        "It opens in plain transformers:",
        "",
        "```python",
        'classifier = pipeline("text-classification", "student")',
        'classifier("a text", truncation=True)',
        "```",
    ]


TEXT = TrainingKind(
    name="text",
    noun="text",
    nouns="texts",
    library="transformers",
    pipeline_tag="text-classification",
    default_student=DEFAULT,
    grid=(GRID, 1),
    optimizers=OPTIMIZERS,
    steps=STEPS,
    batch=64,
    foreign=("size", "views", "teacher_size", "flip", "mix", "image_column"),
    takes=_takes,
    check_student=_check_student,
    set_up=_set_up,
    packings=_packings,
    resolved=_resolved,
    is_export=_is_export,
    reopen=reopen,
    readables=_readables,
    readable_help="give texts, a .txt file with a text a line, or a table with a column of texts",
    collate=_collate,
    write_onnx=write_onnx,
    write_int8=write_int8,
    opening=_opening,
    example='"a text"',
    input_words=lambda size: f"texts of {size} tokens at most",
    figures=classes.FIGURES,
    decided_by=classes.decided_by,
    evaluate=classes.evaluate,
    validate=classes.validate,
)
