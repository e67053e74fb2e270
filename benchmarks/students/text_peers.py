"""What other tools make of the same 25 labels a class: tf-idf with logistic regression, the static
model of model2vec, SetFit and its distillation.

model2vec and setfit are no dependencies: what is not installed is left out. They are asked with
the sentence models that the benchmark of texts teaches with, on the same test splits.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.record import BenchRecord, append
from benchmarks.shared import existing_shared
from benchmarks.students.text_cells import MINILM, foundation, work
from benchmarks.students.text_tasks import SOURCES, make
from zoo.terminal.command import run as run_command
from zoo.terminal.options import command_of
from zoo.terminal.progress import note

UNLABELLED = 500  # of SetFit's distillation, as in its published protocol
STEPS = 200  # at most, of each of SetFit's two trainings


@dataclass(frozen=True)
class PeerTexts:
    """The texts of a task: labelled, test, and some of the pool."""

    train: Sequence[str]
    labels: Sequence[str]
    pool: Sequence[str]
    test: Sequence[str]
    truth: Sequence[str]

    @classmethod
    def of(cls, task: str) -> PeerTexts:
        """Of a task of the benchmark, with its pool."""
        import pandas as pd

        folder = make(task, "pool", work() / "tasks")
        train, test = (pd.read_parquet(folder / f"{split}.parquet") for split in ("train", "test"))
        known = train.label.notna()
        return cls(
            train=train.text[known].tolist(),
            labels=train.label[known].tolist(),
            pool=train.text[~known].tolist()[:UNLABELLED],
            test=test.text.tolist(),
            truth=test.label.tolist(),
        )


def tf_idf(texts: PeerTexts) -> Sequence[str]:
    """Words and pairs of words, weighted, into a logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pipeline = make_pipeline(words, LogisticRegression(C=10, max_iter=1000))
    return list(pipeline.fit(texts.train, texts.labels).predict(texts.test))


def model2vec(texts: PeerTexts) -> Sequence[str]:
    """A static model made of the foundation model, and a logistic regression on its vectors."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = _static_model()
    head = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=6, cv=3, max_iter=1000))
    head.fit(model.encode(list(texts.train)), texts.labels)
    return list(head.predict(model.encode(list(texts.test))))


@cache
def _static_model() -> Any:
    distil = importlib.import_module("model2vec.distill").distill
    return distil(model_name=str(foundation()), device="cpu")


def setfit(texts: PeerTexts) -> Sequence[str]:
    """The foundation model, tuned by pairs, with its logistic regression."""
    return list(_tuned(texts, foundation()).predict(list(texts.test)))


def setfit_distilled(texts: PeerTexts) -> Sequence[str]:
    """A smaller model that imitates the tuned one on unlabelled texts."""
    package, teacher = importlib.import_module("setfit"), _tuned(texts, foundation())
    student = package.SetFitModel.from_pretrained(str(existing_shared("text_models", MINILM)))
    trainer = package.DistillationTrainer(
        teacher_model=teacher,
        student_model=student,
        args=_arguments(package),
        train_dataset=_dataset({"text": list(texts.pool)}),
    )
    trainer.train()
    return list(student.predict(list(texts.test)))


def _tuned(texts: PeerTexts, folder: Path) -> Any:
    package = importlib.import_module("setfit")
    model = package.SetFitModel.from_pretrained(str(folder))
    data = _dataset({"text": list(texts.train), "label": list(texts.labels)})
    package.Trainer(model=model, args=_arguments(package), train_dataset=data).train()
    return model


def _arguments(package: Any) -> Any:
    return package.TrainingArguments(
        batch_size=16, num_epochs=1, max_steps=STEPS, report_to="none", save_strategy="no"
    )


def _dataset(columns: Mapping[str, list[str]]) -> Any:
    return importlib.import_module("datasets").Dataset.from_dict(dict(columns))


PEERS: dict[str, Callable[[PeerTexts], Sequence[str]]] = {
    "tf-idf": tf_idf,
    "model2vec": model2vec,
    "setfit": setfit,
    "setfit_distilled": setfit_distilled,
}


def measure(task: str, peer: str) -> BenchRecord | None:
    """Accuracy and macro-F1 of a peer on a task; None where it is not installed."""
    from sklearn.metrics import f1_score

    from selection.scores.interval import accuracy

    texts, began = PeerTexts.of(task), time.perf_counter()
    try:
        predicted = PEERS[peer](texts)
    except ImportError as error:
        note(f"{peer} is left out: {error}")
        return None
    seconds = time.perf_counter() - began
    share = accuracy(np.asarray(predicted) == np.asarray(texts.truth))
    return BenchRecord(
        name=f"texts.peer.{task}.{peer}",
        value=100 * share.value,
        low=100 * share.low,
        high=100 * share.high,
        unit="% of test texts",
        spread="95 % of other test texts (Wilson)",
        setting={
            "task": task,
            "macro_f1": 100 * float(f1_score(texts.truth, predicted, average="macro")),
            "labelled": len(texts.train),
            "seconds": round(seconds, 1),
        },
    )


@dataclass(frozen=True, kw_only=True)
class TextPeersOptions:
    """The options of ``benchmarks.students.text_peers``."""

    peers: Annotated[tuple[str, ...], typer.Option(help=f"of {', '.join(PEERS)}")] = tuple(PEERS)
    tasks: Annotated[tuple[str, ...], typer.Option(help=f"of {', '.join(SOURCES)}")] = tuple(
        SOURCES
    )
    out: Annotated[Path | None, typer.Option(help="add the records to this file")] = None


def measure_peers(options: TextPeersOptions) -> None:
    """Every peer that is installed on every task."""
    for peer in options.peers:
        for task in options.tasks:
            record = measure(task, peer)
            if record is None:
                break
            print(f"{record.name:<40}{record.value:6.1f} %  {record.setting}", flush=True)
            if options.out is not None:
                append(options.out, [record])


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    command = command_of(TextPeersOptions, measure_peers)
    return run_command(command, argv, name="benchmarks.students.text_peers")


if __name__ == "__main__":
    raise SystemExit(main())
