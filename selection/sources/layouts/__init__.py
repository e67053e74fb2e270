"""Folders of images: which folders are splits, which are classes, which files are images."""
