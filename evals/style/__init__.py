"""How a model sounds, measured apart from what it knows."""
