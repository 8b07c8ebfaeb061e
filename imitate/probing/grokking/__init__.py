"""The grokking probe: a checked job -> trained networks, measured at every snapshot."""
