"""Scripts that make the packaged files."""
