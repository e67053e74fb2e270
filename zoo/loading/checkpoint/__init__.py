"""What a model folder or checkpoint holds: its format, architecture, head and tensor names."""
