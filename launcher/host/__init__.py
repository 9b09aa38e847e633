"""Facts of a host: observed here (`collectors`) or read from pasted text (`parsers`)."""
