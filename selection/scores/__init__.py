"""Transferability scores: pure functions ``Evidence -> float``, higher is better. The registry is ``selection.scores.registry``."""
