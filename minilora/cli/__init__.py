"""The command line: `main` reads the arguments, and each command has a file of its own."""

from minilora.cli.main import main, program

__all__ = ["main", "program"]
