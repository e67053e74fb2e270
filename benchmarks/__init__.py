"""Is it true, is it fast: records, tables and reports."""
