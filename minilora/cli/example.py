"""`minilora example`: a small file of records to start with."""

import argparse
from pathlib import Path

from minilora import storage
from minilora.cli import output

HELP = "copy the example records: what the lookout cries, and what the log says"
EXAMPLE = "python -m minilora example my.jsonl"
SOURCE = Path(__file__).parents[1] / "assets" / "lookout.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", metavar="FILE", help="where, such as my.jsonl; a file that is there is not replaced")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Copy the file and show its first lines."""
    path = Path(args.file)
    if path.suffix != ".jsonl":
        raise ValueError(f"FILE must end in .jsonl, got {args.file!r}")
    if path.exists():
        raise FileExistsError(f"{path} exists already; choose another name")
    text = SOURCE.read_text(encoding="utf-8")
    storage.write_text(path, text)
    lines = text.splitlines()
    out = output.Output(args)
    said = f"wrote     {path}: {len(lines)} records"
    shown = [f"{said}, such as", *(f"          {line}" for line in lines[:3])] if out.talks else [said]
    out.result({"file": str(path), "n": len(lines)}, *shown)
    return 0
