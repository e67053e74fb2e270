"""Images that show the same picture: found, grouped and reported."""
