"""`minilora figures`: compute, draw and check the figures."""

import argparse
import contextlib
from functools import partial
from pathlib import Path

from minilora import checks, parallel

HELP = "compute and draw the figures"
EXAMPLE = "python -m minilora figures codebooks outliers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="which figures (default: the headline ones)")
    parser.add_argument("--all", action="store_true", help="all figures, not the headline ones alone")
    parser.add_argument("--fast", action="store_true", help="of those, only the ones that take seconds")
    parser.add_argument("--list", action="store_true", help="name all figures, with their questions")
    parser.add_argument("--redraw", action="store_true", help="draw all figures from their numbers, compute nothing")
    parser.add_argument("--check", action="store_true", help="compute again and compare with the stored numbers")
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR", help="folder (default: figures)")
    parser.add_argument("--workers", type=int, metavar="N", help="runs at a time (default: one for each core)")
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="compute on a Dask cluster: tcp://host:8786, or local:4 for four processes here",
    )


def run(args: argparse.Namespace) -> int:
    """Compute, draw, list or check figures; 1 if a check finds a difference."""
    from minilora import gallery

    if args.list:
        print("\n".join(_line(figure) for figure in gallery.FIGURES))
        return 0
    figures = gallery.select(args.names, every=args.all or args.redraw, fast_only=args.fast)
    if args.redraw:
        if not args.names:
            figures = [figure for figure in figures if gallery.numbers_path(figure, args.out)] or figures
        print("\n".join(str(path) for path in gallery.redraw(figures, args.out)))
        return 0
    with _computing(args) as side_by_side:
        if not args.check:
            gallery.make(figures, args.out, side_by_side=side_by_side)
            return 0
        lines = gallery.check_again(figures, args.out, side_by_side=side_by_side)
    print("\n".join(lines) or f"the stored numbers hold: {', '.join(figure.name for figure in figures)}")
    return 1 if lines else 0


def stopped(args: argparse.Namespace) -> str:
    """What is left of figures that were stopped: the finished runs of all that the command was asked for."""
    counts = {folder.name: len(list(folder.glob("*.json"))) for folder in sorted((args.out / ".runs").glob("*"))}
    kept = [
        f"{n} finished run{'s' * (n > 1)} of {name} {'are' if n > 1 else 'is'} kept" for name, n in counts.items() if n
    ]
    return f"{', '.join(kept)}; the same command resumes" if kept else "no run was finished, so none is kept"


def _computing(args):
    """What the runs go through: processes of this machine, or a cluster."""
    if args.dask is not None:
        if args.workers is not None:
            raise ValueError(f"--workers {args.workers} goes without --dask; a cluster has the workers it has")
        return parallel.on_dask(args.dask)
    if args.workers is not None:
        checks.integer("--workers", args.workers, low=1)
    return contextlib.nullcontext(partial(parallel.in_processes, workers=args.workers))


def _line(figure):
    kind = "headline" if figure.headline else ""
    return f"{figure.name:20} {'seconds' if figure.fast else 'minutes':8} {kind:9} {figure.question}"
