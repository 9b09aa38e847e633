"""Probes look at a host. They never raise, never judge, and have a deadline."""
