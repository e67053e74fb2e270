"""How every command starts and how it fails: a line on stderr and a status, never a traceback."""

from __future__ import annotations

import difflib
import errno
import io
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from zoo.errors import TeacherError, Unavailable, UserError
from zoo.home import home

_MOST_NAMED = 15  # valid names that a message lists; of more only the nearest
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]|\r")
_FILE_NAME = re.compile(r"-[^=]*\.\w{2,5}")
_EPILOG = "--debug shows the traceback of an error, --version the version of teacher-zoo."
_INTERRUPT = 128 + signal.SIGINT  # the status of a command that Ctrl-C stopped
_ENDING_SIGNALS = ("SIGTERM", "SIGHUP")  # they stop a command as Ctrl-C does
_KEPT = "what was finished is kept"

# How torch's allocators on the CPU and C++ say that memory is exhausted, in lower case.
_MEMORY_SIGNS = ("can't allocate memory", "not enough memory", "std::bad_alloc")
_CLOSE_OTHERS = "close other programs and run again, what was finished is kept"
_LESS_MEMORY = {
    "distill.train": "give a smaller --batch-size (with --accumulate the result is nearly the"
    " same), --teacher-size or --size, and another --out",
    "selection.rank": "leave out large models (--where 'params_total < 100e6') or use --device cpu;"
    " models that were probed are kept",
}

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

_running: list[str] = []  # names of the commands that run in this process
_stopped_work: list[tuple[str, tuple[str, ...]]] = []  # of the command that is being stopped
_typed: ContextVar[str | None] = ContextVar("typed", default=None)


def run(function: Callable[..., Any], argv: Sequence[str] | None = None, *, name: str) -> int:
    """Parse ``argv`` for ``function`` (a function with typer annotations) and call it.

    Returns the exit status: 0 done; 2 the user's input was wrong; 1 anything else. ``--debug``
    anywhere lets the traceback through, ``--version`` prints the version.
    """
    import typer
    from typer.main import get_command

    _open_closed_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if "--version" in words:
        show(version_text())
        return 0
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(epilog=_EPILOG)(function)
    command = get_command(app)
    typed = _typed.get() or f"python -m {name}"
    _running.append(name)
    _stopped_work.clear()
    _replace_unprintable()
    alone = argv is None  # in a process of its own
    with _ending_signals() as signals:
        try:
            with _quiet_after_reader():
                status = int(command.main(args=words, prog_name=typed, standalone_mode=False) or 0)
                # typer itself turns Ctrl-C into a silent status
                return (
                    _stopped(signals, typed, words, alone=alone) if status == _INTERRUPT else status
                )
            return 0
        except KeyboardInterrupt:
            return _stopped(signals, typed, words, alone=alone)
        except Exception as error:  # the rim, every error becomes a sentence here
            if debug:
                raise
            if type(error).__name__ == "Abort":  # typer's name for Ctrl-C
                return _stopped(signals, typed, words, alone=alone)
            return _explain(error, typed, name, words)
        finally:
            _running.remove(name)


@contextmanager
def resumable(kept: str | Callable[[], str], *options: str) -> Iterator[None]:
    """While the block runs, Ctrl-C, SIGTERM and SIGHUP say what is kept and how to go on.

    ``kept`` (a sentence without its end, or a function that makes it at that moment) stands before
    the exact command that goes on: the words as typed, with those of ``options`` that they lack.
    Of blocks in one another the innermost speaks.
    """
    try:
        yield
    except KeyboardInterrupt:
        if not _stopped_work:
            _stopped_work.append((kept if isinstance(kept, str) else kept(), options))
        raise


def _open_closed_streams() -> None:
    """Let what is printed vanish where a stream is closed (``>&-``), which Python makes None."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _replace_unprintable() -> None:
    """Print ``?`` for a letter that the terminal's encoding lacks, where Python would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


@contextmanager
def _ending_signals() -> Iterator[list[signal.Signals]]:
    """SIGTERM and SIGHUP raise ``KeyboardInterrupt`` in the block; yields those that came.

    Where somebody else handles a signal, or ignores it (nohup), it stays theirs; child processes
    that inherit the handler end by the signal as they would without it.
    """
    came: list[signal.Signals] = []
    owner = os.getpid()

    def stop(number: int, _frame: object) -> None:
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        came.append(signal.Signals(number))
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in _ENDING_SIGNALS if hasattr(signal, name)]
    ours = []
    if threading.current_thread() is threading.main_thread():
        ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield came
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _stopped(
    signals: Sequence[signal.Signals],
    typed: str,
    words: Sequence[str],
    *,
    alone: bool,
) -> int:
    """Say what is kept and the exact command that goes on; returns the status.

    In a process that is ``alone`` a second Ctrl-C ends it at once, in silence.
    """
    if alone and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    kept, options = _stopped_work[0] if _stopped_work else (_KEPT, ())
    missing = [option for option in options if option not in words]
    command = shlex.join([*typed.split(), *words, *missing])
    by = f" by {signals[0].name}" if signals else ""
    status = 128 + signals[0] if signals else _INTERRUPT
    return fail(f"stopped{by}; {kept}; to go on: {command}", status)


def in_command() -> bool:
    """Whether a command runs in this process, rather than the Python API alone."""
    return bool(_running)


def as_typed(name: str) -> str:
    """How to type the command ``name``: ``python -m distill.train``, or ``teacher-zoo train`` where
    the running command was typed in that form.
    """
    short = (_typed.get() or "").startswith("teacher-zoo ")
    return f"teacher-zoo {name.rpartition('.')[2]}" if short else f"python -m {name}"


@contextmanager
def typed_as(words: str) -> Iterator[None]:
    """Commands that run in this context were typed as ``words``: their help and errors say so."""
    token = _typed.set(words)
    try:
        yield
    finally:
        _typed.reset(token)


@contextmanager
def _quiet_after_reader() -> Iterator[None]:
    """End without an error where the reader of stdout has gone, as in ``| head -1``."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise  # typer itself turns a closed pipe into an exit with status 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(text: str) -> None:
    """Print the answer of a command that computes nothing, such as ``--version``."""
    with _quiet_after_reader():
        print(text)


def version_text() -> str:
    """``teacher-zoo 0.1.0``."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"teacher-zoo {version('teacher-zoo')}"
    except PackageNotFoundError:
        return "teacher-zoo, not installed: it runs from its source folder"


def _explain(error: Exception, typed: str, name: str, words: Sequence[str]) -> int:
    message = getattr(error, "format_message", None)
    if callable(message):  # click's usage errors, under whatever name typer carries them
        return fail(f"{message()} ({_dashed_path(words)}{typed} --help lists the options)", 2)
    if isinstance(error, UserError):
        return fail(str(error), 2)
    if isinstance(error, OSError) and (error.filename or error.errno in _DISK_FULL):
        return _explain_file(error)
    if isinstance(error, Unavailable | TeacherError):
        return fail(str(error), 1)
    if memory := exhausted_memory(error):
        return fail(f"{memory} is exhausted; {_LESS_MEMORY.get(name, _CLOSE_OTHERS)}", 1)
    return fail(f"{type(error).__name__}: {error} (run again with --debug for the traceback)", 1)


def _dashed_path(words: Sequence[str]) -> str:
    """How to type the first word that is a file rather than an option: ``-rf.jpg``."""
    typed = words[: words.index("--")] if "--" in words else words
    for word in typed:
        if word.startswith("-") and (_FILE_NAME.fullmatch(word) or os.path.lexists(word)):
            return f"a file whose name begins with a dash is typed ./{word}, or after --; "
    return ""


def exhausted_memory(error: BaseException) -> str | None:
    """``GPU memory`` or ``memory`` where an error says that it is exhausted, as torch, NumPy and
    Python do; None for any other error.
    """
    text = str(error).lower()
    if type(error).__name__ == "OutOfMemoryError" or "cuda error: out of memory" in text:
        return "GPU memory"
    if isinstance(error, MemoryError) or any(sign in text for sign in _MEMORY_SIGNS):
        return "memory"
    return None


def _explain_file(error: OSError) -> int:
    """Say which file could not be read or written, and how to mend it."""
    file, reason, place = str(error.filename), error.strerror or "it cannot be used", home()
    if error.errno in _DISK_FULL:
        where = f" ({file})" if error.filename else ""  # none: of stdout, or of a library
        return fail(
            f"the disk is full{where}; free some space and run again, what was finished is kept",
            1,
        )
    unusable = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) or not place.is_dir()
    if unusable and Path(file).is_relative_to(place):
        return fail(
            f"{place} takes no files ({file}: {reason}); set TEACHER_ZOO_HOME to a folder that you"
            " can write to",
            2,
        )
    return fail(f"{file}: {reason} (run again with --debug for the traceback)", 1)


def fail(message: str, status: int) -> int:
    """Print the error on stderr; returns ``status``."""
    print(f"error: {printable(message)}", file=sys.stderr)
    return status


def printable(text: object, limit: int = 2_000) -> str:
    """``text`` as one printable line of at most ``limit`` characters.

    Names, labels and card text come from strangers: control and bidirectional characters are taken
    out, halves of characters that UTF-8 cannot hold are replaced.
    """
    words = " ".join(str(text)[: 4 * limit].split())
    line = _CONTROL.sub("", words).encode("utf-8", "replace").decode()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def split_list(values: Iterable[str] | None) -> list[str]:
    """``["a,b", "c"]`` -> ``["a", "b", "c"]``: a list may be repeated or separated by commas."""
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def validate_choice(kind: str, name: str, valid: Iterable[str]) -> str:
    """``name`` if it is among ``valid``, else ``UserError`` with the nearest and all of them."""
    names = list(valid)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = names
    if len(names) > _MOST_NAMED:
        listed = [*(near or names[:5]), f"... {len(names)} in all"]
    raise UserError(f"no {kind} {name!r}{hint} (valid: {', '.join(listed)})")


def byte_size(text: str) -> int:
    """``"20GB"`` -> 20e9 bytes; a bare number is bytes; units kB, MB, GB, TB."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    if not match or float(match[1]) <= 0:
        raise UserError(f"{text!r}: expected a size such as 500MB or 20GB")
    return int(float(match[1]) * 1000 ** " kmgt".index(match[2] or " "))
