"""Keys and names, out of text."""
