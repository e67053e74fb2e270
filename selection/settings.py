"""What a ranking is to be made with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a ranking is to be made with; the options of the command, with its defaults.

    ``models`` are ids or globs and meet ``where``; ``top`` bounds the committee; ``also`` names
    further scores to show; ``budget`` bounds the wall clock in seconds and ``download`` the bytes
    to fetch, both promises; ``ray`` is ``local:N`` or a cluster's address, whose workers then
    probe; ``max_size`` bounds the feature cache in bytes; ``label_encoder`` is a
    sentence-transformers model (default: the packaged table); ``device`` is ``cpu``, ``cuda``,
    ``cuda:N`` or ``mps`` (default: a GPU where there is one).
    """

    models: tuple[str, ...] = ()
    where: str | None = None
    top: int = 3
    score: str = "transport"
    also: tuple[str, ...] = ()
    probe_size: int = 500
    budget: float | None = None
    download: float | None = None
    ray: str | None = None
    seed: int = 0
    offline: bool = False
    device: str | None = None
    catalogue: Path | None = None
    unlabelled: Path | None = None
    label_encoder: str | None = None
    max_size: int | None = None

    def check(self) -> None:
        """Raise ``UserError`` where a value makes no sense, named as the command's option."""
        if self.top < 1:
            raise UserError(f"--top {self.top}: a committee needs at least 1 teacher")
        if self.probe_size < 4:
            raise UserError(
                f"--probe-size {self.probe_size}: at least 4 images are needed, 500 is a good size"
            )
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: expected 0 or more")
        if self.device and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", self.device):
            raise UserError(f"--device {self.device!r}: expected cpu, cuda, cuda:N or mps")
        if self.budget is not None and not self.budget > 0:
            raise UserError(f"a budget of {self.budget} seconds: expected more than 0")
        if self.download is not None and not self.download >= 0:
            raise UserError(f"a download of at most {self.download} bytes: expected 0 or more")
