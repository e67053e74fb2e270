"""What is true of one kind of task and of no other: images, texts, ratings."""
