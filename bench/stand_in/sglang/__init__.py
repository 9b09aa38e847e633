"""A server that costs nothing, for bench/idle.py: what stays of a measurement is the supervisor."""
