"""Running teachers on a probe, within a budget, with a cache."""
