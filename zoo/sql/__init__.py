"""DuckDB under the catalogue."""
