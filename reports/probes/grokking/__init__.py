"""The report of the grokking probe."""
