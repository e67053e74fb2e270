"""What can go wrong in a way that a user should read as one sentence."""

from __future__ import annotations


class UserError(ValueError):
    """The input was wrong: the message says what came, what was expected and how to mend it. Exit
    status 2.
    """


class Unavailable(RuntimeError):
    """The input was right, but the work could not be done (Hub unreachable, every model failed).
    Exit status 1.
    """


class TeacherError(RuntimeError):
    """One model could not be used; the message is the reason its row carries. Never stops a
    ranking.
    """


class CatalogueLocked(UserError):
    """Another process writes the catalogue; ``holder`` says which one."""

    def __init__(self, message: str, *, holder: str = "another process") -> None:
        super().__init__(message)
        self.holder = holder


class DamagedCatalogue(UserError):
    """A file of the catalogue cannot be read; the doctor may be able to mend it."""
