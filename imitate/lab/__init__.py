"""The embedded world: everything in it is known exactly, so every measurement can be checked."""
