"""Where a task's images come from: folders, tables, the Hub."""
