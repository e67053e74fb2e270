"""``python -m zoo.doctor``: is the catalogue sound, how old, how complete; what can be mended is mended."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.catalogue import Catalogue, snapshot_of, utc_now
from zoo.command import clean, run
from zoo.errors import UserError
from zoo.home import default_catalogue
from zoo.sources.ledger import CANDIDATES, Ledger

_SHOWN = 5
_STALE = dt.timedelta(days=30)


@dataclass
class Findings:
    """What is known of a catalogue: ``facts`` for information, ``mended`` and still ``broken`` faults, ``advice``."""

    facts: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people: one finding a line."""
        groups = (("", self.facts), ("mended: ", self.mended), ("broken: ", self.broken), ("advice: ", self.advice))
        verdict = "sound" if not self.broken else f"{len(self.broken)} faults that cannot be mended here"
        return [clean(start + text) for start, found in groups for text in found] + [f"verdict: {verdict}"]


def examine(path: Path) -> Findings:
    """Look through the catalogue at ``path`` and mend it. Raises ``UserError`` where there is none, or none that can be
    read; while another process writes, only the snapshot is looked at."""
    found = Findings()
    if not path.is_file():
        if snapshot_of(path).is_file():
            _snapshot(path, found)
            found.broken.append(f"the database {path} is missing beside its snapshot; crawl again to make it anew")
            return found
        raise UserError(f"there is no catalogue at {path}; make one: python -m zoo.crawl")
    try:
        with Catalogue.open(path, write=True) as catalogue:
            _mend(catalogue, found)
            _counts(catalogue, found)
            _passes(catalogue, found)
            _faults(catalogue, found)
            _publish(catalogue, found)
    except UserError as error:
        if "is writing the catalogue" not in str(error):
            raise
        found.facts.append(f"{str(error).split(';')[0]}: only its snapshot was examined")
    _snapshot(path, found)
    return found


def _mend(catalogue: Catalogue, found: Findings) -> None:
    ledger, db = Ledger(catalogue), catalogue.connection
    twice = ledger.drop_duplicates()
    if twice:
        found.mended.append(f"{twice:,} rows stood there twice")
    same = _one(db, "SELECT count(*) - count(DISTINCT id) FROM models")
    if same:
        found.broken.append(f"{same:,} rows share their id and their time; crawl again")
    lost = _one(db, "SELECT count(*) FROM models JOIN details USING (id, sha) WHERE models.detail_state IS NULL "
                    "AND models.removed_at IS NULL")
    if lost:
        ledger.merge_details()
        found.mended.append(f"the details of {lost:,} models were not in their rows yet")
    for table in ("details", "configs"):
        old = _one(db, f"DELETE FROM {table} WHERE NOT EXISTS "
                       f"(SELECT 1 FROM models WHERE models.id = {table}.id AND models.sha = {table}.sha)")
        if old:
            found.mended.append(f"{old:,} rows of {table} were of revisions that are gone")
    for partial in catalogue.path.parent.glob(f".{catalogue.snapshot.name}.*.tmp"):
        partial.unlink(missing_ok=True)
        found.mended.append(f"{partial.name} was left by a process that was killed")


def _counts(catalogue: Catalogue, found: Findings) -> None:
    query = ("SELECT source, count(*), count(*) FILTER (loadable), count(labels), count(*) FILTER (removed_at IS NOT NULL), "
             "max(indexed_at) FROM models GROUP BY source ORDER BY source")
    for source, models, loadable, labelled, gone, newest in catalogue.connection.execute(query).fetchall():
        age = f", last seen {_age(newest)} ago" if newest else ""
        found.facts.append(f"{source}: {models:,} models, {loadable:,} loadable, {labelled:,} with label names, "
                           f"{gone:,} gone{age}")
        if source == "hub" and newest and utc_now() - newest > _STALE:
            found.advice.append("the Hub was last listed more than a month ago: python -m zoo.crawl --update")
    asked, open_ = catalogue.connection.execute(
        f"SELECT count(detail_state), count(*) FILTER (detail_state IS NULL AND sha IS NOT NULL AND removed_at IS NULL) "
        f"FROM models WHERE source = 'hub' AND ({CANDIDATES})").fetchall()[0]
    if asked or open_:
        found.facts.append(f"details: {asked:,} of {asked + open_:,} candidates of the Hub")
    if open_:
        found.advice.append(f"{open_:,} candidates have no details yet: python -m zoo.crawl --update")


def _passes(catalogue: Catalogue, found: Findings) -> None:
    states = dict(catalogue.connection.execute("SELECT key, value FROM state WHERE key LIKE 'hub %'").fetchall())
    for key, text in sorted(states.items()):
        if key.endswith((" pass", " last")):
            job = _parsed(text)
            scope, what = _scope(key), f"{job.get('kind')} listing"
            if key.endswith(" last"):
                found.facts.append(f"{what}{scope}: ended {str(job.get('ended'))[:16]} UTC with {job.get('rows', 0):,} rows")
            else:
                found.advice.append(f"a {what}{scope} was cut after {job.get('rows', 0):,} rows; the same command goes on")


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _scope(key: str) -> str:
    """`` (image-classification, timm)`` from the key of a part of the Hub."""
    try:
        _, *parts = json.loads(key[len("hub "):key.rindex("]") + 1])
    except ValueError:
        return ""
    told = [str(part) for part in parts if part is not None]
    return f" ({', '.join(told)})" if told else ""


def _faults(catalogue: Catalogue, found: Findings) -> None:
    db = catalogue.connection
    total = _one(db, "SELECT count(*) FROM faults")
    if total:
        shown = db.execute(f"SELECT coalesce(id, '(no id)'), error FROM faults ORDER BY id NULLS LAST LIMIT {_SHOWN}").fetchall()
        found.facts.append(f"{total:,} odd rows in the Hub's listing, for example: "
                           + "; ".join(f"{model}: {error[:60]}" for model, error in shown))


def _publish(catalogue: Catalogue, found: Findings) -> None:
    """The snapshot must say what the database says."""
    rows = catalogue.count()
    try:
        with Catalogue.open(catalogue.path) as reader:
            published = reader.count()
            newest = "SELECT max(indexed_at) AS t, count(detail_state) AS d, count(removed_at) AS g FROM models"
            same = reader.sql(newest).astype(str).equals(catalogue.sql(newest).astype(str))
    except UserError:
        published, same = -1, False
    if rows and (published != rows or not same):
        catalogue.publish()
        found.mended.append("the snapshot was missing, damaged or behind the database; it is published anew")


def _snapshot(path: Path, found: Findings) -> None:
    snapshot = snapshot_of(path)
    if snapshot.is_file():
        size = snapshot.stat().st_size + (path.stat().st_size if path.is_file() else 0)
        changed = dt.datetime.fromtimestamp(snapshot.stat().st_mtime, dt.UTC).replace(tzinfo=None)
        found.facts.append(f"snapshot {snapshot}: {_age(changed)} old; {size / 1e6:,.1f} MB with the database")


def _one(db: Any, query: str) -> int:
    return int(db.execute(query).fetchall()[0][0])


def _age(then: dt.datetime) -> str:
    """``3 days``, ``2 hours``, ``5 minutes``."""
    minutes = max(0, int((utc_now() - then).total_seconds() // 60))
    for unit, size in (("day", 1_440), ("hour", 60), ("minute", 1)):
        if minutes >= size:
            return f"{minutes // size:,} {unit}{'s' if minutes // size > 1 else ''}"
    return "a moment"


def doctor(
    catalogue: Annotated[Path | None, typer.Option(help="The catalogue's file.")] = None,
) -> int:
    """Is the catalogue sound, how old is it, how complete? What can be mended is mended."""
    found = examine(catalogue or default_catalogue())
    print("\n".join(found.lines()))
    return 1 if found.broken else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(doctor, argv, name="zoo.doctor")


if __name__ == "__main__":
    raise SystemExit(main())
