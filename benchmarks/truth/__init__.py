"""Is it true? How good a student becomes after each teacher, for many teachers and tasks: the truth that scores are held to."""
