"""Judging somebody's launch command, and writing the one that should be."""
