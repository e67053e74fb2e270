"""The student's training data: pixels, views, batches."""
