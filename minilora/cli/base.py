"""`minilora base`: train the shipped base again."""

import argparse
from pathlib import Path

HELP = "train the base model again (about six minutes on two cores)"
EXAMPLE = "python -m minilora base --out my_base.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="where (default: in the package)")


def run(args: argparse.Namespace) -> int:
    """Train, store the weights, and print the held-out loss and samples."""
    from minilora.assets.base import BASE_PATH
    from minilora.experiments.training.pretrain import pretrain

    out = args.out or BASE_PATH
    if out.is_dir():
        raise ValueError(f"--out must be a file, got the folder {out}; try {out / 'base.npz'}")
    metadata = pretrain(out)
    print(f"held-out loss {metadata['curve']['eval'][-1][1]} nats per byte")
    for text in metadata["samples"]:
        print(f"---\n{text}")
    return 0


def stopped(args: argparse.Namespace) -> str:
    """What a training that was stopped leaves behind."""
    from minilora.assets.base import BASE_PATH

    checkpoint = (args.out or BASE_PATH).parent / ".pretraining" / "checkpoint.npz"
    return f"{checkpoint} is kept, and the same command resumes" if checkpoint.is_file() else "no checkpoint yet"
