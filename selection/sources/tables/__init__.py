"""Tables of images and labels: columns, cells, paths, and the files they stand in."""
