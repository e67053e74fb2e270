"""Tasks of ratings: pairs of a user and an item."""
