"""Train the student: a committee of teachers, one small student."""
