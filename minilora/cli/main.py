"""The command line: which command was meant, and how its end is reported."""

import argparse
import sys

from minilora.cli import base, doctor, figures

COMMANDS = {"figures": figures, "doctor": doctor, "base": base}


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code (0 fine, 1 something differs or fails, 2 unusable arguments)."""
    parser = argparse.ArgumentParser(prog="minilora", description="LoRA and QLoRA from scratch in NumPy.")
    commands = parser.add_subparsers(dest="command")
    for name, module in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=module.HELP))
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        return COMMANDS[args.command].run(args)
    except (ValueError, OSError) as error:
        print(f"minilora: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minilora: stopped; finished runs are kept, and the same command resumes", file=sys.stderr)
        return 130
