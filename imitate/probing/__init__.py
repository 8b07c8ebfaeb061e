"""Probes: a checked job -> trained networks, what was measured in them, results."""
