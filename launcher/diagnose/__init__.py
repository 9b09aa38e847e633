"""Lines of logs to the cause of a death. Pure, and the standard library alone."""
