"""The student network and what is exported of it."""
