"""``python -m zoo.doctor``: is the catalogue sound, how old, how complete; what can be mended is
mended.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.catalogue import Catalogue, snapshot_of, utc_now
from zoo.errors import CatalogueLocked, UserError
from zoo.files import remove_partial
from zoo.home import default_catalogue
from zoo.sources.ledger import CANDIDATES, Ledger
from zoo.terminal.command import clean, run
from zoo.terminal.options import CatalogueFile, command_of

_SHOWN = 5
_STALE = dt.timedelta(days=30)


@dataclass
class Findings:
    """What is known of a catalogue: ``facts`` for information, ``mended`` and still ``broken``
    faults, ``advice``.
    """

    facts: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people: one finding a line."""
        groups = (
            ("", self.facts),
            ("mended: ", self.mended),
            ("broken: ", self.broken),
            ("advice: ", self.advice),
        )
        verdict = (
            "sound" if not self.broken else f"{len(self.broken)} faults that cannot be mended here"
        )
        return [clean(start + text) for start, found in groups for text in found] + [
            f"verdict: {verdict}"
        ]


def examine(path: Path) -> Findings:
    """Look through the catalogue at ``path`` and mend it. Raises ``UserError`` where there is none,
    or none that can be read; while another process writes, only the snapshot is looked at.
    """
    found = Findings()
    snapshot = snapshot_of(path)
    if path.is_file():
        try:
            with Catalogue.open(path, write=True) as catalogue:
                _Visit(catalogue, found).run()
        except CatalogueLocked as error:
            found.facts.append(
                f"{error.holder} is writing the catalogue: only its snapshot is examined"
            )
    elif snapshot.is_file():
        Catalogue.open(path).close()  # raises UserError for a foreign file
        found.broken.append(
            f"the database {path} is missing beside its snapshot; crawl again to make it anew"
        )
    else:
        raise UserError(f"there is no catalogue at {path}; make one: python -m zoo.crawl")
    if snapshot.is_file():
        size = sum(file.stat().st_size for file in (snapshot, path) if file.is_file())
        changed = dt.datetime.fromtimestamp(snapshot.stat().st_mtime, dt.UTC).replace(tzinfo=None)
        found.facts.append(
            f"snapshot {snapshot}: {_age(changed)} old; {size / 1e6:,.1f} MB with the database"
        )
    return found


class _Visit:
    """One look through an open catalogue."""

    def __init__(self, catalogue: Catalogue, found: Findings) -> None:
        self.catalogue, self.found, self.ledger = catalogue, found, Ledger(catalogue)

    def run(self) -> None:
        self.mend()
        self.count()
        self.passes()
        self.publish()

    def ask(self, query: str) -> list[Any]:
        return list(self.catalogue.connection.execute(query).fetchall())

    def one(self, query: str) -> int:
        return int(self.ask(query)[0][0])

    def mend(self) -> None:
        mended, found = self.found.mended, self.ledger.drop_duplicates()
        if found:
            mended.append(f"{found:,} rows stood there twice")
        if found := self.one("SELECT count(*) - count(DISTINCT id) FROM models"):
            self.found.broken.append(f"{found:,} rows share their id and their time; crawl again")
        if found := self.one(
            "SELECT count(*) FROM models JOIN details USING (id, sha) WHERE models.detail_state IS"
            " NULL AND models.removed_at IS NULL"
        ):
            self.ledger.merge_details()
            mended.append(f"the details of {found:,} models were not in their rows yet")
        for table in ("details", "configs"):
            if found := self.one(
                f"DELETE FROM {table} WHERE NOT EXISTS "
                f"(SELECT 1 FROM models WHERE models.id = {table}.id AND models.sha = {table}.sha)"
            ):
                mended.append(f"{found:,} rows of {table} were of revisions that are gone")
        for partial in remove_partial(self.catalogue.snapshot):
            mended.append(f"{partial.name} was left by a process that was killed")

    def count(self) -> None:
        facts, advice = self.found.facts, self.found.advice
        for source, models, loadable, labelled, gone, newest in self.ask(
            "SELECT source, count(*), count(*) FILTER (loadable), count(labels), count(removed_at),"
            " max(indexed_at) FROM models GROUP BY source ORDER BY source"
        ):
            age = f", last seen {_age(newest)} ago" if newest else ""
            facts.append(
                f"{source}: {models:,} models, {loadable:,} loadable, {labelled:,} with label"
                f" names, {gone:,} gone{age}"
            )
            if source == "hub" and newest and utc_now() - newest > _STALE:
                advice.append(
                    "the Hub was last listed more than a month ago: python -m zoo.crawl --update"
                )
        asked = self.one(
            f"SELECT count(detail_state) FROM models WHERE source = 'hub' AND ({CANDIDATES})"
        )
        waiting = self.ledger.wanted().num_rows
        if asked or waiting:
            facts.append(f"details: {asked:,} of {asked + waiting:,} candidates of the Hub")
        if waiting:
            advice.append(
                f"{waiting:,} candidates have no details yet: python -m zoo.crawl --update"
            )
        if faults := self.one("SELECT count(*) FROM faults"):
            shown = self.ask(
                "SELECT coalesce(id, '(no id)'), error FROM faults ORDER BY id NULLS LAST LIMIT"
                f" {_SHOWN}"
            )
            facts.append(
                f"{faults:,} odd rows in the Hub's listing, for example: "
                + "; ".join(f"{model}: {error[:60]}" for model, error in shown)
            )

    def passes(self) -> None:
        """The listings of the Hub, or of parts of it, that ended or were cut."""
        for key, text in self.ask(
            "SELECT key, value FROM state WHERE key LIKE 'hub %' ORDER BY key"
        ):
            name, _, state = key.removeprefix("hub ").rpartition(" ")
            if state not in ("pass", "last"):
                continue
            job, parts = (
                json.loads(text),
                [str(part) for part in json.loads(name)[1:] if part is not None],
            )
            what = f"{job['kind']} listing" + (f" ({', '.join(parts)})" if parts else "")
            if state == "last":
                self.found.facts.append(
                    f"{what}: ended {job['ended'][:16]} UTC with {job['rows']:,} rows"
                )
            else:
                self.found.advice.append(
                    f"a {what} was cut after {job['rows']:,} rows; the same command goes on"
                )

    def publish(self) -> None:
        """The snapshot must say what the database says."""
        newest = (
            "SELECT count(*), max(indexed_at), count(detail_state), count(removed_at) FROM models"
        )
        try:
            with Catalogue.open(self.catalogue.path) as reader:
                same = reader.sql(newest).astype(str).equals(self.catalogue.sql(newest).astype(str))
        except UserError:
            same = False
        if not same and self.catalogue.count():
            self.catalogue.publish()
            self.found.mended.append(
                "the snapshot was missing, damaged or behind the database; it is published anew"
            )


def _age(then: dt.datetime) -> str:
    """``3 days``, ``2 hours``, ``5 minutes``."""
    minutes = max(0, int((utc_now() - then).total_seconds() // 60))
    for unit, size in (("day", 1_440), ("hour", 60), ("minute", 1)):
        if minutes >= size:
            return f"{minutes // size:,} {unit}{'s' if minutes // size > 1 else ''}"
    return "a moment"


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Which catalogue is examined."""

    catalogue: CatalogueFile = None


def doctor(options: DoctorOptions) -> int:
    """Is the catalogue sound, how old is it, how complete? What can be mended is mended."""
    found = examine(options.catalogue or default_catalogue())
    print("\n".join(found.lines()))
    return 1 if found.broken else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(command_of(DoctorOptions, doctor), argv, name="zoo.doctor")


if __name__ == "__main__":
    raise SystemExit(main())
