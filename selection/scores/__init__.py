"""Transferability scores: pure functions ``Evidence -> float``, higher is better; by name in
``selection.scores.registry``.
"""
