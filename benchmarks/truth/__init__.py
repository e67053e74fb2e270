"""Is the choice right? Students of every teacher and task, and how scores foresee them."""
