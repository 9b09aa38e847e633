"""Opening, reading and running files that others may have put there."""
