"""What commands share: arguments and errors, progress, tables."""
