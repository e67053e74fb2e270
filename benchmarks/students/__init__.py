"""How good the trained students are."""
