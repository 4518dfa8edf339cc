"""What a command says: text for people on stdout, or one JSON object for machines."""

import argparse
import json
from typing import Any


class Output:
    """`say` prints unless --quiet or --json asked for silence; `result` prints the result in the form that was asked for."""

    def __init__(self, args: argparse.Namespace):
        self.json, self.quiet = args.json, args.quiet

    @property
    def talks(self) -> bool:
        """Is there anybody to read what `say` prints?"""
        return not (self.json or self.quiet)

    def say(self, topic: str, *lines: str) -> None:
        """A topic and its lines, aligned."""
        if self.talks:
            for i, line in enumerate(lines):
                print(f"{topic if i == 0 else '':10}{line}", flush=True)

    def result(self, values: dict[str, Any] | list, *lines: str) -> None:
        """The values as one line of JSON with --json, else the lines."""
        if self.json:
            print(json.dumps(values, ensure_ascii=False))
        else:
            for line in lines:
                print(line)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --json and --quiet."""
    parser.add_argument("--json", action="store_true", help="print the result alone, as one line of JSON")
    parser.add_argument("--quiet", action="store_true", help="print the result alone, without progress")


def size(count: int | float) -> str:
    """A number of bytes for people: "372 kB", "4.2 MB" (powers of ten)."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= power:
            return f"{count / power:.3g} {unit}" if count < 999.5 * power else f"{count / power:,.0f} {unit}"
    return f"{count:.0f} bytes"
