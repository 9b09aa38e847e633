"""Facts about the world that others judge by: one table each, with a small reader beside it."""
