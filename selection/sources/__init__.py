"""Where a task's samples come from: folders, tables, the Hub."""
