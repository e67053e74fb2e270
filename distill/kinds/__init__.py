"""What is true of one kind of samples alone: how students of images and of texts are trained."""
