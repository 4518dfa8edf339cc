"""The command line: which command was meant, and how its end is reported.

A command is a module of this folder with

    HELP                    one line for the list of commands
    EXAMPLE                 one line that can be typed, shown by `--help`
    add_arguments(parser)   declares what it takes
    run(args) -> int        does it; the exit code
    stopped(args) -> str    optional: what Ctrl-C leaves behind ("step 40 is kept; the same command resumes")

Exit codes: 0 fine; 1 something differs or failed; 2 unusable arguments or files; 130 stopped by Ctrl-C.
"""

import argparse
import os
import signal
import sys
from typing import NoReturn

import minilora
from minilora.cli import (
    adapters,
    base,
    chat,
    doctor,
    evaluate,
    example,
    export,
    figures,
    finetune,
    generate,
    merge,
    plot,
    quantize,
)
from minilora.interop.extras import MissingPackage
from minilora.parallel.processes import interrupts_held

COMMANDS = {
    "example": example,
    "finetune": finetune,
    "evaluate": evaluate,
    "generate": generate,
    "chat": chat,
    "merge": merge,
    "export": export,
    "adapters": adapters,
    "plot": plot,
    "quantize": quantize,
    "figures": figures,
    "doctor": doctor,
    "base": base,
}
FINE, FAILED, UNUSABLE, STOPPED = 0, 1, 2, 130
# What was named on the command line is not there or is something else; other OSErrors (a full disk) are failures.
WRONG_PATH = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)


def program() -> NoReturn:
    """`main` as a process: whenever and however often Ctrl-C is pressed, no traceback and the exit code 130."""
    try:
        code = main()
    except KeyboardInterrupt:  # again, while `main` was saying what is kept
        code = STOPPED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop, and Python would die of it as it ends
    sys.exit(code)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code (0 fine, 1 something differs or failed, 2 unusable arguments, 130 stopped).

    Raises SystemExit(2) where argparse cannot read `argv`, SystemExit(0) after --help and --version, and KeyboardInterrupt
    where Ctrl-C is pressed again while it says what a stopped command has kept.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return FINE
    command = COMMANDS[args.command]
    try:
        return command.run(args)
    except KeyboardInterrupt:
        with interrupts_held():  # pressed again, it must not cut off what is said
            said = command.stopped(args) if hasattr(command, "stopped") else "nothing was written"
            print(f"minilora: stopped; {said}", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # the reader of our output has gone, as after `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again when it ends
        return FAILED
    except (ValueError, MissingPackage, *WRONG_PATH) as error:
        print(f"minilora: {error}", file=sys.stderr)
        return UNUSABLE
    except MemoryError as error:
        print(
            f"minilora: out of memory{f' ({error})' if str(error) else ''}; choose something smaller", file=sys.stderr
        )
        return FAILED
    except (RuntimeError, OSError) as error:
        print(f"minilora: {error}", file=sys.stderr)
        return FAILED


def _parser():
    parser = argparse.ArgumentParser(prog="minilora", description="LoRA and QLoRA from scratch in NumPy.")
    parser.add_argument("--version", action="version", version=f"minilora {minilora.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
    return parser
