"""Read finished runs, write reports."""
