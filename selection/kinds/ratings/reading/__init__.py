"""From files of ratings and items to the parts of a task."""
