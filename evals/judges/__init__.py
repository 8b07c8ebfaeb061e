"""Who prefers which answer, and how far that judge can be trusted."""
