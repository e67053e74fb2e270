"""How far a ranking is: which model is at work, and one line for each that is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from selection.kinds.kind import Kind
from selection.ranking import Row
from zoo.card import ModelCard
from zoo.terminal.command import printable
from zoo.terminal.progress import Meter, Progress


class RankingProgress:
    """The models and probe samples of a ranking, round by round, shown by ``progress``."""

    def __init__(self, progress: Progress, kind: Kind) -> None:
        self.progress, self.kind = progress, kind
        self.models = self.samples = self.done = self.answered = 0
        self._round = ExitStack()
        self._meter: Meter | None = None

    @contextmanager
    def shown(self) -> Iterator[RankingProgress]:
        """Show the rounds that begin before the context ends."""
        try:
            yield self
        finally:
            self._round.close()

    def round(
        self,
        number: int,
        rounds: int,
        models: int,
        samples: int,
        asked: int | None = None,
    ) -> None:
        """A round begins: ``models`` models on ``samples`` probe samples each.

        ``asked`` is how many parts of samples each of them is shown for that, where it is not shown
        the samples themselves.
        """
        self._round.close()
        asked = samples if asked is None else asked
        self.models, self.samples, self.done = models, asked, 0
        name = f"round {number} of {rounds}" if rounds > 1 else "probing"
        probing = self.progress.over(name, unit=self.kind.asked, total=models * asked)
        self._meter = self._round.enter_context(probing)
        if rounds > 1:
            self._meter.line(f"{name}: {models} models, {samples} {self.kind.nouns}")

    def started(self, card: ModelCard) -> None:
        """This model is loaded and begins to answer."""
        self.answered = 0
        if self._meter is not None:
            self._meter.at_work_on(card.id)

    def advance(self, samples: int) -> None:
        """So many samples of the current model are answered."""
        if self._meter is not None:
            self._meter.advance(samples - self.answered)
        self.answered = samples

    def finished(self, row: Row, *, cached: bool) -> None:
        """This model is done, or failed."""
        self.done += 1
        if self._meter is None:
            return
        self._meter.skip(self.done * self.samples - self._meter.done)  # stored, failed or left out
        if cached or (row.value is None and not row.error):
            return
        outcome = f"{row.seconds or 0:.1f} s"
        if row.value is None:
            outcome = f"failed: {printable(row.error or '', 200)}"
        self._meter.line(f"[{self.done}/{self.models}] {printable(row.model, 80)}: {outcome}")
