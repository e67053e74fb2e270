"""The writes of a crawl of the Hub: pages of rows, faults, and details by revision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.catalogue import Catalogue, utc_now
from zoo.sql.columns import COLUMNS
from zoo.sql.connection import PUBLISHED
from zoo.sql.tables import add_columns, arrow_table

if TYPE_CHECKING:
    import pyarrow as pa

    from zoo.sources.details import Details

# What the details pass knows better than a listing. They are kept by revision, so that a new
# listing forgets none.
DETAILS = (
    "library_name",
    "license",
    "model_type",
    "architecture",
    "num_classes",
    "labels",
    "label_source",
    "modality",
    "max_length",
    "input_size",
    "mean",
    "std",
    "interpolation",
    "crop_pct",
    "crop_mode",
    "feature_dim",
    "params_total",
    "weight_format",
    "weight_bytes",
    "custom_code",
    "loadable",
    "not_loadable_reason",
    "accuracy",
    "detail_state",
    "detail_error",
)
# Images, text and label spaces are what a committee of teachers is chosen by; a gated model answers
# nobody's config.
CANDIDATES = (
    "gated IS NULL AND (library_name = 'timm' OR pipeline_tag IN "
    "('image-classification', 'image-feature-extraction', 'zero-shot-image-classification', "
    "'text-classification'))"
)
_RESTORED_ROWS = 20_000  # at a time
_LISTINGS = "listings"  # key of the state: how many listings there were
_GENERATIONS = 10  # of a lineage, before it is taken for a circle


class Replaced(NamedTuple):
    """Of the rows of a page: how many were there before, of them with another revision, and newly
    gated.
    """

    known: int
    changed: int
    gated: int


class Ledger:
    """Writes of a crawl to an open catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._db = catalogue.connection
        # the number of the listing that wrote a row: no clock says what a listing has touched
        self._db.execute("ALTER TABLE models ADD COLUMN IF NOT EXISTS listing BIGINT")
        columns = ", ".join(f'"{name}" {COLUMNS[name]}' for name in DETAILS)
        self._db.execute(f"CREATE TABLE IF NOT EXISTS details (id VARCHAR, sha VARCHAR, {columns})")
        add_columns(self._db, "details")
        self._forget_refused_texts()
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS faults (id VARCHAR, error VARCHAR, raw VARCHAR, seen_at"
            " TIMESTAMP)"
        )

    def _forget_refused_texts(self) -> None:
        """Ask again for the details of encoders that an earlier version refused as text models."""
        refused = "not_loadable_reason LIKE '% is a text model'"
        with self.catalogue.transaction():
            self._db.execute(f"DELETE FROM details WHERE {refused}")
            self._db.execute(
                "UPDATE models SET detail_state = NULL, loadable = NULL, not_loadable_reason = NULL"
                f" WHERE source = 'hub' AND {refused}"
            )

    def next_listing(self) -> int:
        """The number of a listing that begins; each is larger than all before."""
        number = int(self.catalogue.state(_LISTINGS) or 0) + 1
        self.catalogue.set_state(_LISTINGS, str(number))
        return number

    def adopt_listing(self, since: str) -> int:
        """The number of a listing that an earlier version began at ``since``, by the clock."""
        with self.catalogue.transaction():
            number = self.next_listing()
            self._db.execute(
                "UPDATE models SET listing = ? WHERE source = 'hub' AND indexed_at >= ?::TIMESTAMP",
                [number, since],
            )
        return number

    def replace(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        ordered: bool,
        listing: int = 0,
    ) -> Replaced:
        """Write a page of rows with unique ids and creation times, which the ``listing`` of that
        number gave; says what of them was there before.

        ``ordered``: the page is one span of creation times. Only that span is searched for the old
        rows, which keeps a page as cheap in a table of millions as in an empty one;
        ``drop_duplicates`` finds the few others at the end.
        """
        times = [row["created_at"] for row in rows]
        where, values = "true", list[object]()
        if ordered and None not in times:
            where, values = "models.created_at BETWEEN ? AND ?", [min(times), max(times)]
        with self.catalogue.as_page(arrow_table(rows, rows[0])):
            # Found by their ids alone and deleted by number: a DELETE with RETURNING reads all
            # columns of the table.
            old = self._db.execute(
                "SELECT models.rowid, models.sha IS DISTINCT FROM page.sha, page.gated IS NOT NULL"
                " AND models.gated IS NULL FROM models JOIN page ON models.id = page.id WHERE"
                f" {where}",
                values,
            ).fetchall()
            if old:
                self._db.execute(
                    "DELETE FROM models WHERE rowid IN (SELECT unnest(?::BIGINT[]))",
                    [[row[0] for row in old]],
                )
            self._db.execute(
                f"INSERT INTO models BY NAME SELECT *, {listing:d} AS listing FROM page"
            )
        return Replaced(
            len(old), sum(changed for _, changed, _ in old), sum(gated for *_, gated in old)
        )

    def note_faults(self, faults: Iterable[tuple[str | None, str, str]]) -> None:
        """Keep (id, what was odd, the start of the row) of rows that could not be read, or only in
        part.
        """
        rows = [[*fault, utc_now()] for fault in faults]
        if rows:
            self._db.executemany("INSERT INTO faults VALUES (?, ?, ?, ?)", rows)

    def drop_duplicates(self) -> int:
        """Of rows with the same id, and of faults of the same row, keep the one that was written
        last; returns how many rows went.

        A row of a later listing, else one further down in the table, was written later: a clock may
        have been set back between two rows.
        """
        self._db.execute(
            "DELETE FROM faults USING (SELECT raw, max(rowid) AS newest FROM faults GROUP BY raw)"
            " AS last WHERE faults.raw = last.raw AND faults.rowid < last.newest"
        )
        self._db.execute(
            "CREATE OR REPLACE TEMP TABLE doubled AS SELECT id FROM models GROUP BY id HAVING"
            " count(*) > 1"
        )
        deleted = self._db.execute(
            "DELETE FROM models WHERE rowid IN (SELECT place FROM (SELECT models.rowid AS place,"
            " row_number() OVER (PARTITION BY models.id ORDER BY coalesce(models.listing, 0) DESC,"
            " models.rowid DESC) AS nth FROM models JOIN doubled USING (id)) WHERE nth > 1)"
        ).fetchall()
        self._db.execute("DROP TABLE doubled")
        return int(deleted[0][0])

    def restore(self, snapshot: Path) -> None:
        """Fill an empty database from a sound snapshot: its models, and the details in them."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = ", ".join(f'"{name}"' for name in DETAILS)
        with self.catalogue.transaction():
            file = pq.ParquetFile(snapshot)
            present = [name for name in COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(_RESTORED_ROWS, columns=present):
                with self.catalogue.as_page(pa.Table.from_batches([batch])):
                    self._db.execute("INSERT INTO models BY NAME SELECT * FROM page")
            self._db.execute(
                f"INSERT INTO details BY NAME SELECT id, sha, {names} FROM models WHERE source ="
                " 'hub' AND detail_state IS NOT NULL"
            )
            self.catalogue.set_state(PUBLISHED, snapshot.name)

    # --- details

    def wanted(self, expression: str | None = None) -> pa.Table:
        """The candidates (``expression``: SQL of the user's, over the columns) without details at
        their revision: id, sha, pipeline_tag, weight_format, datasets; the most downloaded first.
        ``UserError`` for a faulty expression.
        """
        import pyarrow as pa

        query = (
            "SELECT id, sha, pipeline_tag, weight_format, datasets FROM models WHERE source ="
            f" 'hub' AND sha IS NOT NULL AND removed_at IS NULL AND ({expression or CANDIDATES}\n)"
            " AND detail_state IS NULL ORDER BY downloads DESC NULLS LAST, id"
        )
        return pa.Table.from_batches(list(self.catalogue.batches(query)))

    def save_details(self, fetched: Sequence[tuple[str, str, Details]]) -> None:
        """Keep the details of (id, revision, details), and the raw files they came from, at
        once.
        """
        import pyarrow as pa

        rows = arrow_table(
            [{"id": model, "sha": sha, **details.fields} for model, sha, details in fetched],
            ("id", "sha", *DETAILS),
        )
        files = [
            {"id": model, "sha": sha, "file": name, "body": text}
            for model, sha, details in fetched
            for name, text in details.files.items()
        ]
        with self.catalogue.transaction():
            self.catalogue.replace_rows("details", rows, key=("id", "sha"))
            if files:
                self.catalogue.replace_rows(
                    "configs", pa.Table.from_pylist(files), key=("id", "sha", "file")
                )

    def config(
        self,
        model: str,
        sha: str,
        file: str = "config.json",
    ) -> str | None:
        """The raw text that was kept of one file at one revision, or ``None``."""
        query = "SELECT body FROM configs WHERE id = ? AND sha = ? AND file = ?"
        rows = self._db.execute(query, [model, sha, file]).fetchall()
        return str(rows[0][0]) if rows else None

    def merge_details(self) -> None:
        """Bring the details of each model's present revision into its row; a row that has them is
        left alone.
        """
        assignments = ", ".join(
            f'"{name}" = coalesce(details."{name}", models."{name}")' for name in DETAILS
        )
        with self.catalogue.transaction():
            self._db.execute(
                f"UPDATE models SET {assignments} FROM details WHERE models.id = details.id AND"
                " models.sha = details.sha AND models.detail_state IS NULL AND models.removed_at"
                " IS NULL"
            )
            self._trace_families()

    def _trace_families(self) -> None:
        """``family``: the root of each lineage as far as it is listed; a circle ends where it is
        noticed.
        """
        self._db.execute(
            "CREATE OR REPLACE TEMP TABLE parents AS SELECT id, base_model[1] AS base FROM models "
            "WHERE source = 'hub' AND len(base_model) > 0 AND base_model[1] <> id"
        )
        self._db.execute(
            "CREATE OR REPLACE TEMP TABLE roots AS SELECT id, base AS root FROM parents"
        )
        for _ in range(_GENERATIONS):
            moved = self._db.execute(
                "UPDATE roots SET root = parents.base FROM parents WHERE roots.root = parents.id "
                "AND parents.base <> roots.id"
            ).fetchall()
            if not moved[0][0]:
                break
        self._db.execute(
            "UPDATE models SET family = roots.root FROM roots WHERE models.id = roots.id AND "
            "models.family IS DISTINCT FROM roots.root"
        )
        self._db.execute("DROP TABLE parents")
        self._db.execute("DROP TABLE roots")
