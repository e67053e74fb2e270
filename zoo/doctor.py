"""``python -m zoo.doctor``: how sound, old and complete is the catalogue; faults are mended."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.catalogue import Catalogue, snapshot_of, utc_now
from zoo.errors import CatalogueLocked, DamagedCatalogue, UserError
from zoo.files import remove_partial
from zoo.home import default_catalogue
from zoo.sources.ledger import CANDIDATES, Ledger
from zoo.sql.columns import COLUMNS, column
from zoo.sql.faults import damaged
from zoo.terminal.command import printable, run
from zoo.terminal.options import CatalogueFile, command_of

_FAULTS_SHOWN = 5
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
        lines = [printable(start + text) for start, findings in groups for text in findings]
        broken = len(self.broken)
        verdict = f"{broken} faults that cannot be mended here" if broken else "sound"
        return [*lines, f"verdict: {verdict}"]


def examine(path: Path) -> Findings:
    """Examine the catalogue at ``path`` and mend it.

    While another process writes it, only the snapshot is examined. Raises ``UserError`` where there
    is no catalogue, or none that can be read.
    """
    import duckdb

    findings = Findings()
    snapshot = snapshot_of(path)
    if path.is_file():
        try:
            with Catalogue.open(path, write=True) as catalogue:
                _Examination(catalogue, findings).run()
        except CatalogueLocked as error:
            findings.facts.append(
                f"{error.holder} is writing the catalogue: only its snapshot is examined"
            )
            _examine_snapshot(snapshot, findings)
        except (DamagedCatalogue, duckdb.Error) as error:
            if not snapshot.is_file():
                sentence = error if isinstance(error, DamagedCatalogue) else damaged(error, path)
                raise sentence from None
            _rebuild(path, findings, fault="damaged")
    elif snapshot.is_file():
        Catalogue.open(path).close()  # raises UserError for a foreign file
        _rebuild(path, findings, fault="missing")
    else:
        raise UserError(f"there is no catalogue at {path}; make one: python -m zoo.crawl")
    if snapshot.is_file():
        size = sum(file.stat().st_size for file in (snapshot, path) if file.is_file())
        changed = dt.datetime.fromtimestamp(snapshot.stat().st_mtime, dt.UTC).replace(tzinfo=None)
        findings.facts.append(
            f"snapshot {snapshot}: {_age(changed)} old; {size / 1e6:,.1f} MB with the database"
        )
    return findings


def damaged_columns(snapshot: Path, catalogue: Catalogue | None = None) -> list[str]:
    """The columns of ``snapshot`` that cannot be read whole, or that say something else than
    ``catalogue``, the open database.
    """
    import duckdb

    with Catalogue.open(snapshot) as reader:
        damaged = []
        for name in COLUMNS:
            digest = f"SELECT count({column(name)}), bit_xor(hash(id, {column(name)})) FROM models"
            try:
                published = reader.connection.execute(digest).fetchall()
            except duckdb.Error:
                damaged.append(name)
                continue
            if catalogue is not None:
                stored = catalogue.connection.execute(digest).fetchall()
                if stored != published:
                    damaged.append(name)
    return damaged


def _examine_snapshot(snapshot: Path, findings: Findings) -> None:
    """Read all of a snapshot whose database cannot be asked now."""
    if snapshot.is_file() and (columns := damaged_columns(snapshot)):
        findings.broken.append(
            f"the snapshot is damaged in {', '.join(columns)}; run the doctor again when the writer"
            " has ended"
        )


def _rebuild(path: Path, findings: Findings, *, fault: str) -> None:
    """Make the database at ``path`` anew from its snapshot; a damaged one is kept beside it."""
    snapshot = snapshot_of(path)
    columns = damaged_columns(snapshot)
    if columns:
        findings.broken.append(
            f"the database {path} is {fault}, and its snapshot is damaged in"
            f" {', '.join(columns)}; remove both and crawl again"
        )
        return
    kept = ""
    if path.exists():
        aside = path.with_name(f"{path.name}.damaged")
        os.replace(path, aside)
        kept = f"; the damaged file is kept as {aside.name}"
    write_ahead = path.with_name(f"{path.name}.wal")
    if write_ahead.exists():
        os.replace(write_ahead, write_ahead.with_name(f"{write_ahead.name}.damaged"))
    with Catalogue.open(path, write=True) as catalogue:
        Ledger(catalogue).restore(snapshot)
        _Examination(catalogue, findings).run()
    findings.mended.insert(
        0,
        f"the database was {fault}; it is made anew from its snapshot{kept}. A listing that was cut"
        " begins anew",
    )


class _Examination:
    """The checks of an open catalogue; each adds to ``findings``."""

    def __init__(self, catalogue: Catalogue, findings: Findings) -> None:
        self.catalogue, self.findings, self.ledger = catalogue, findings, Ledger(catalogue)

    def run(self) -> None:
        """All checks; what can be mended is mended before it is counted."""
        self.mend_rows()
        self.remove_leftovers()
        self.count_models()
        self.count_details()
        self.list_faults()
        self.list_passes()
        self.publish_snapshot()

    def rows_of(self, statement: str) -> list[Any]:
        """All rows of an SQL statement."""
        return list(self.catalogue.connection.execute(statement).fetchall())

    def count_of(self, statement: str) -> int:
        """The only number that an SQL statement gives."""
        return int(self.rows_of(statement)[0][0])

    def mend_rows(self) -> None:
        """Rows that stand there twice, and details that did not reach their model."""
        mended = self.findings.mended
        if doubled := self.ledger.drop_duplicates():
            mended.append(f"{doubled:,} rows stood there twice")
        if shared := self.count_of("SELECT count(*) - count(DISTINCT id) FROM models"):
            self.findings.broken.append(
                f"{shared:,} rows share their id and their time; crawl again"
            )
        unmerged = self.count_of(
            "SELECT count(*) FROM models JOIN details USING (id, sha) WHERE models.detail_state IS"
            " NULL AND models.removed_at IS NULL"
        )
        if unmerged:
            self.ledger.merge_details()
            mended.append(f"the details of {unmerged:,} models were not in their rows yet")

    def remove_leftovers(self) -> None:
        """Details of revisions that are gone, and files of processes that were killed."""
        mended = self.findings.mended
        for table in ("details", "configs"):
            outdated = self.count_of(
                f"DELETE FROM {table} WHERE NOT EXISTS "
                f"(SELECT 1 FROM models WHERE models.id = {table}.id AND models.sha = {table}.sha)"
            )
            if outdated:
                mended.append(f"{outdated:,} rows of {table} were of revisions that are gone")
        for partial in remove_partial(self.catalogue.snapshot):
            mended.append(f"{partial.name} was left by a process that was killed")

    def count_models(self) -> None:
        """How many models of each source, and how old they are."""
        for source, models, loadable, labelled, gone, newest in self.rows_of(
            "SELECT source, count(*), count(*) FILTER (loadable), count(labels), count(removed_at),"
            " max(indexed_at) FROM models GROUP BY source ORDER BY source"
        ):
            age = f", last seen {_age(newest)} ago" if newest else ""
            self.findings.facts.append(
                f"{source}: {models:,} models, {loadable:,} loadable, {labelled:,} with label"
                f" names, {gone:,} gone{age}"
            )
            if source == "hub" and newest and utc_now() - newest > _STALE:
                self.findings.advice.append(
                    "the Hub was last listed more than a month ago: python -m zoo.crawl --update"
                )

    def count_details(self) -> None:
        """How many of the Hub's candidates have details, and how many wait for them."""
        known = self.count_of(
            f"SELECT count(detail_state) FROM models WHERE source = 'hub' AND ({CANDIDATES})"
        )
        waiting = self.ledger.wanted().num_rows
        if known or waiting:
            self.findings.facts.append(
                f"details: {known:,} of {known + waiting:,} candidates of the Hub"
            )
        if waiting:
            self.findings.advice.append(
                f"{waiting:,} candidates have no details yet: python -m zoo.crawl --update"
            )

    def list_faults(self) -> None:
        """Rows of the Hub's listing that could not be read."""
        faults = self.count_of("SELECT count(*) FROM faults")
        if not faults:
            return
        examples = self.rows_of(
            "SELECT coalesce(id, '(no id)'), error FROM faults ORDER BY id NULLS LAST LIMIT"
            f" {_FAULTS_SHOWN}"
        )
        listed = "; ".join(f"{model}: {error[:60]}" for model, error in examples)
        self.findings.facts.append(
            f"{faults:,} odd rows in the Hub's listing, for example: {listed}"
        )

    def list_passes(self) -> None:
        """The listings of the Hub, or of parts of it, that ended or were cut."""
        for key, text in self.rows_of(
            "SELECT key, value FROM state WHERE key LIKE 'hub %' ORDER BY key"
        ):
            name, _, state = key.removeprefix("hub ").rpartition(" ")
            if state not in ("pass", "last"):
                continue
            job = json.loads(text)
            scope = [str(part) for part in json.loads(name)[1:] if part is not None]
            listing = f"{job['kind']} listing"
            if scope:
                listing += f" ({', '.join(scope)})"
            if state == "last":
                self.findings.facts.append(
                    f"{listing}: ended {job['ended'][:16]} UTC with {job['rows']:,} rows"
                )
            else:
                self.findings.advice.append(
                    f"a {listing} was cut after {job['rows']:,} rows; the same command goes on"
                )

    def publish_snapshot(self) -> None:
        """The snapshot must say what the database says."""
        state = (
            "SELECT count(*), max(indexed_at), count(detail_state), count(removed_at) FROM models"
        )
        snapshot = self.catalogue.snapshot
        fault = "missing"
        if snapshot.is_file():
            try:
                with Catalogue.open(self.catalogue.path) as reader:
                    published = reader.sql(state).astype(str)
                same = published.equals(self.catalogue.sql(state).astype(str))
                columns = damaged_columns(snapshot, self.catalogue) if same else []
                fault = f"damaged in {', '.join(columns)}" if columns else ""
                fault = fault if same else "behind the database"
            except DamagedCatalogue as error:
                lacks = " lacks the column " in str(error)
                fault = "without a column" if lacks else "damaged"
            except UserError:
                fault = "damaged"
        if fault and self.catalogue.count():
            self.catalogue.publish()
            self.findings.mended.append(f"the snapshot was {fault}; it is published anew")


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
    findings = examine(options.catalogue or default_catalogue())
    print("\n".join(findings.lines()))
    return 1 if findings.broken else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(command_of(DoctorOptions, doctor), argv, name="zoo.doctor")


if __name__ == "__main__":
    raise SystemExit(main())
