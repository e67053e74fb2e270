"""Which models are candidates, without running any."""
