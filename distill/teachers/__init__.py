"""What teachers contribute: stored outputs, heads, ground costs."""
