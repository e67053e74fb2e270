"""Tasks of texts: tables with a column of texts, and folders of text files."""
