"""Keeping one server alive: what its supervisor is made of, standard library alone."""
