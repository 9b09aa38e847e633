"""Acts: bring up, take down, restart, install units, collect a bundle, tell metrics, download."""
