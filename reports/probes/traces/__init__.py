"""The report of the probe of reasoning traces."""
