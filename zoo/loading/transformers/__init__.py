"""Networks of transformers: which are known, how they are built, and what they answer."""
