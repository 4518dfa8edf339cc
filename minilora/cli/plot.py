"""`minilora plot`: the curves of a run, while it trains or afterwards."""

import argparse
from pathlib import Path

from minilora import storage
from minilora.cli import output
from minilora.cli.folder import RunFolder
from minilora.training import as_arrays, read_log

HELP = "draw a run's loss, rate and held-out curve"
EXAMPLE = "python -m minilora plot my_run"
FORMATS = ("png", "svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("folder", metavar="DIR", help="the folder of a run, finished or not")
    parser.add_argument("--out", metavar="FILE", help="a .png or .svg (default: both, in DIR)")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Draw log.jsonl, and say in a sentence what it shows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from minilora.plots import run_history
    from minilora.plots.style import RC

    folder = RunFolder(args.folder)
    history = read_log(folder.log)
    if not history["step"]:
        raise ValueError(f"{folder.log} holds no step yet; wait until the run has made some")
    paths = [folder.path / f"curves.{suffix}" for suffix in FORMATS] if args.out is None else [Path(args.out)]
    for path in paths:
        if path.suffix.removeprefix(".") not in FORMATS:
            raise ValueError(f"--out must end in .png or .svg, got {args.out!r}")
    numbers = {name: array.tolist() for name, array in as_arrays(history).items()}
    with plt.rc_context():
        matplotlib.rcdefaults()  # a reader's own matplotlibrc must not get into the picture
        matplotlib.rcParams.update(RC)
        figure, axes = plt.subplots(**run_history.LAYOUT)
        run_history.draw(axes, numbers)
        for path in paths:
            suffix = path.suffix.removeprefix(".")
            metadata = {"Date": None} if suffix == "svg" else {"Software": None}
            storage.write_atomically(
                path, lambda file, s=suffix, m=metadata: figure.savefig(file, format=s, metadata=m)
            )
        plt.close(figure)
    out = output.Output(args)
    caption, files = run_history.caption(numbers), [str(path) for path in paths]
    if out.talks:
        print(caption)
    out.result({"caption": caption, "files": files}, *(f"wrote     {path}" for path in files))
    return 0
