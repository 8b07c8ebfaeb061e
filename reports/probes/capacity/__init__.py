"""The report of the capacity probe."""
