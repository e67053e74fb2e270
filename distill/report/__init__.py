"""What a finished run tells: its page, its worst mistakes, what to do next."""
