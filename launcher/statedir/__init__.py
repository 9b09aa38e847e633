"""The folder of one instance: its lock, its owner, its files."""
