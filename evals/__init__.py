"""Measure models: style, factuality, capability, memorisation, and the statistics on top."""
