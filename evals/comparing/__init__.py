"""Two results that are there already, set against each other item by item."""
