"""`minilora base`: train the shipped base again."""

import argparse
from pathlib import Path

HELP = "train the base model again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="where (default: in the package)")


def run(args: argparse.Namespace) -> int:
    """Train, store the weights, and print the held-out loss and samples."""
    from minilora.assets.base import BASE_PATH
    from minilora.experiments.training.pretrain import main as pretrain

    metadata = pretrain(args.out or BASE_PATH)
    print(f"held-out loss {metadata['curve']['eval'][-1][1]} nats per byte")
    for text in metadata["samples"]:
        print(f"---\n{text}")
    return 0
