"""What the store of teachers' outputs keeps on disk: its keys, its files."""
