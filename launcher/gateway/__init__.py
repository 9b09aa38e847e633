"""The gateway in front of replicas: `smg`, kept up as a server is, and the list of its workers."""

NAME = "smg"  # as a plan calls it
DEFAULT = "gateway"  # the name of one where nobody says another
LEAST = (1, 13)  # the first release that these settings were run with
LEAVE_WITHIN = 20.0  # seconds for a server to be left; 1.13.0 does 5 s after it left the list
EXTRA = "glm5-serve[gateway]"  # what installs it
