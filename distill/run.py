"""A run folder: ``config.json``, ``metrics.jsonl``, ``checkpoint/``, ``student/``,
``README.md``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UserError
from zoo.files import (
    DamagedFile,
    check_can_write,
    load_checked_bytes,
    load_checked_json,
    write_checked_bytes,
    write_checked_json,
    write_text,
)
from zoo.terminal.progress import note

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Parts of config.json that a resumed run is not compared in: options, since "plan" holds what
# follows from them (distill.train compares those that were given), versions, and whether a control
# is trained beside the run; the kind of samples, which follows from the task.
NOT_COMPARED = ("options", "versions", "without_control", "kind")
# What torch.load raises for a file that was cut off or overwritten.
DAMAGED = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
)


class RunFolder:
    """The files of one run. Everything is written whole or not at all; a stopped run loses at most
    the steps since its last checkpoint, and repeats them exactly.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(
        cls,
        path: Path,
        config: Mapping[str, Any],
        *,
        resume: bool,
    ) -> RunFolder:
        """A new run folder, or with ``resume`` the one at ``path`` if it was made with the same
        ``config``.

        ``UserError`` where a run lies there and ``resume`` is False, or where its configuration
        differs.
        """
        run = cls(path)
        run.require_free(resume=resume)
        if run.exists:
            _require_same_config(run.config(), config, path)
            return run
        (path / "checkpoint").mkdir(parents=True, exist_ok=True)
        write_checked_json(path / "config.json", json.loads(json.dumps(dict(config))))
        return run

    @contextlib.contextmanager
    def locked(self, *, wait: bool) -> Iterator[None]:
        """No other process trains in the folder while the block runs.

        With ``wait`` the block begins when the other process has ended; otherwise ``UserError``.
        """
        from filelock import FileLock, Timeout

        self.require_free(resume=True)
        (self.path / "checkpoint").mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / "checkpoint" / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise UserError(
                    f"another training is writing to {self.path}: wait until it has ended, or give"
                    " another --out"
                ) from None
            note(f"another training is writing to {self.path}: waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @property
    def exists(self) -> bool:
        """Whether a run was begun in the folder."""
        return (self.path / "config.json").exists()

    def require_free(self, *, resume: bool) -> None:
        """Raise ``UserError`` where no run can be begun, or without ``resume`` where one lies."""
        if self.exists and not resume:
            raise UserError(
                f"{self.path} holds a run already: add --resume to go on with it, or give another"
                " --out"
            )
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; --out takes a folder")
        check_can_write(self.path / "config.json")

    def remove_damaged(self, *, config: bool = False) -> None:
        """Remove damaged results, which the checkpoint gives again.

        With ``config``, of a folder of our own, a damaged configuration is removed with all that
        was trained by it.
        """
        results = self.path / "results.json"
        try:
            if results.exists():
                load_checked_json(results)
        except DamagedFile as error:
            note(f"{error}; the student is evaluated anew")
            results.unlink()
        file = self.path / "config.json"
        try:
            if config and file.exists():
                load_checked_json(file)
        except DamagedFile as error:
            note(f"{error}; the run is trained anew")
            for damaged in [
                *self.path.glob("*.json*"),
                *(self.path / "checkpoint").glob("*.pt"),
            ]:
                damaged.unlink()

    def discard(self) -> None:
        """Remove the folder of a run that was refused before anything was trained."""
        if not (self.path / "checkpoint" / "last.pt").exists():
            (self.path / "config.json").unlink(missing_ok=True)
            (self.path / "checkpoint" / "lock").unlink(missing_ok=True)
            for folder in (self.path / "checkpoint", self.path):
                with contextlib.suppress(OSError):  # other files lie there
                    folder.rmdir()

    def config(self) -> dict[str, Any]:
        """``config.json``; ``UserError`` where there is none, or where it is damaged."""
        try:
            return load_checked_json(self.path / "config.json")
        except DamagedFile as error:
            raise UserError(str(error)) from None
        except OSError as error:
            raise UserError(
                f"{self.path} is not a run folder ({error.strerror}: config.json); make one with"
                f" python -m distill.train --out {self.path}"
            ) from None

    @property
    def student(self) -> Path:
        """The folder of the exported student."""
        return self.path / "student"

    @property
    def finished(self) -> bool:
        """Whether training ended and the results were written."""
        return (self.path / "results.json").exists()

    def results(self) -> dict[str, Any]:
        """``results.json`` of a finished run: accuracies with intervals, predictions on the test
        split. ``UserError`` where the file is damaged.
        """
        try:
            return load_checked_json(self.path / "results.json")
        except DamagedFile as error:
            raise UserError(
                f"{error}; go on with the run (python -m distill.train --resume --out"
                f" {self.path}) to evaluate its student anew"
            ) from None

    def finish(self, results: Mapping[str, Any], card: str) -> None:
        """Write ``README.md``, then ``results.json``, which marks the run as finished."""
        write_text(self.path / "README.md", card)
        write_checked_json(self.path / "results.json", results)

    def metrics(self) -> list[dict[str, Any]]:
        """One entry an epoch; a line cut off by a crash is left out."""
        path = self.path / "metrics.jsonl"
        entries = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
                entry["epoch"] += 0  # a number
            except (ValueError, TypeError, KeyError):
                break
            entries.append(entry)
        return entries

    def keep_metrics(self, epochs: int) -> None:
        """Drop the lines of epochs that the checkpoint does not hold, so that they are written
        once.
        """
        kept = [line for line in self.metrics() if line["epoch"] < epochs]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
        write_text(self.path / "metrics.jsonl", text)

    def add_metrics(self, line: Mapping[str, Any]) -> None:
        """Append one epoch."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            out.flush()
            os.fsync(out.fileno())

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write ``state`` (tensors, numbers, strings, lists, dicts); keep the previous one."""
        import torch

        # into memory first: a full disk then shows as an OSError of our own write, with its errno
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        last = self.path / "checkpoint" / "last.pt"
        write_checked_bytes(last.with_name("next.pt"), buffer.getbuffer())
        if last.exists():
            os.replace(last, last.with_name("previous.pt"))
        os.replace(last.with_name("next.pt"), last)

    def load_checkpoint(self, *, device: Any = "cpu") -> dict[str, Any] | None:
        """The newest checkpoint that can be read, or None. Never runs code from the file."""
        import torch

        for partial in (self.path / "checkpoint").glob(".*.part"):  # of a run killed while it wrote
            partial.unlink(missing_ok=True)
        for name in ("next.pt", "last.pt", "previous.pt"):
            file = self.path / "checkpoint" / name
            if not file.exists():
                continue
            try:
                content = io.BytesIO(load_checked_bytes(file))
                state: dict[str, Any] = torch.load(content, map_location=device, weights_only=True)
                return state
            except DAMAGED as error:
                note(
                    f"checkpoint {file} is damaged ({type(error).__name__}); trying the one"
                    " before it"
                )
        return None


def _require_same_config(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    """Raise ``UserError`` where a run's configuration is not that of this command."""
    old = _without_off(old)
    new = _without_off(json.loads(json.dumps(dict(new))))
    for name in sorted(set(old) | set(new)):
        if name not in NOT_COMPARED and old.get(name) != new.get(name):
            raise UserError(
                f"{path} was made with {name} = {_short(old.get(name))}, this command says "
                f"{_short(new.get(name))}: resume with the same options, or give another --out"
            )


def _without_off(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` without what is null, false, zero or empty.

    An earlier version did not write the names that it did not know, which were off for it.
    """
    values = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            value = _without_off(value)
        if value:
            values[name] = value
    return values


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:119] + "…"


def hits(results: Mapping[str, Any], split: str) -> npt.NDArray[np.bool_]:
    """(n,) which samples of ``split`` a run got right, from its ``results.json``."""
    import numpy as np

    predicted = np.asarray(results[split]["predicted"])
    correct: npt.NDArray[np.bool_] = predicted == np.asarray(results[split]["labels"])
    return correct
