"""`python -m minilora COMMAND`."""

import sys

if __name__ == "__main__":
    try:
        from minilora.cli import program

        program()
    except KeyboardInterrupt:  # before the command began
        sys.exit(130)
