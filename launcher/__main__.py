"""`python -m launcher` is `glm5-serve`."""

from launcher.cli import main

main()
