"""`python -m launcher` is `glm5-serve`."""

import os


def main() -> None:
    """Run the command line; Ctrl-C is quiet from the first import on."""
    try:
        from launcher.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        os._exit(130)


if __name__ == "__main__":
    main()
