"""Judging a host: the checks, the run over them, their remedies, and the test of the fabric."""
