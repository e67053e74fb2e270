"""Who should teach: a task, a probe of it, what each teacher says of the probe, a ranking."""
