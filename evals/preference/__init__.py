"""Which arm is preferred, and how much of that is style."""
