"""The gateway in front of replicas: `smg`, kept up as a server is, and the list of its workers."""

NAME = "smg"  # as a plan calls it
DEFAULT = "gateway"  # the name of one where nobody says another
LEAST = (1, 13)  # the first release that these settings were run with
EXTRA = "glm5-serve[gateway]"  # what installs it
