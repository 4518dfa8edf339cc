"""`minilora figures`: compute, draw and check the figures."""

import argparse
from pathlib import Path

HELP = "compute and draw the figures"
EXAMPLE = "python -m minilora figures codebooks outliers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    parser.add_argument("--list", action="store_true", help="name them")
    parser.add_argument("--redraw", action="store_true", help="draw from the stored numbers, compute nothing")
    parser.add_argument("--check", action="store_true", help="compute again and compare with the stored numbers")
    parser.add_argument("--fast", action="store_true", help="only those that take seconds")
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR", help="folder (default: figures)")


def run(args: argparse.Namespace) -> int:
    """Compute, draw, list or check figures; 1 if a check finds a difference."""
    from minilora import gallery

    figures = gallery.select(args.names, fast_only=args.fast)
    if args.list:
        for figure in gallery.FIGURES:
            print(f"{figure.name:20} {'fast' if figure.fast else 'slow'}   {figure.question}")
        return 0
    if args.check:
        differences = [line for figure in figures for line in gallery.check(figure, args.out)]
        print("\n".join(differences) if differences else f"{len(figures)} figures: the stored numbers hold")
        return 1 if differences else 0
    for figure in figures:
        if not args.redraw:
            gallery.compute(figure, args.out)
        print(gallery.draw(figure, args.out))
    gallery.write_pages(args.out)
    if not args.redraw:
        gallery.forget_runs(figures, args.out)
    return 0


def stopped(args: argparse.Namespace) -> str:
    """What computing leaves behind when it is stopped: figures that are done, and the finished runs of those that are not."""
    counts = {folder.name: len(list(folder.glob("*.json"))) for folder in sorted((args.out / ".runs").glob("*"))}
    said = [
        f"{n} finished run{'s' * (n > 1)} of {name} {'are' if n > 1 else 'is'} kept" for name, n in counts.items() if n
    ]
    if not said:
        return f"no run of an unfinished figure is kept; figures that were done are in {args.out}"
    return f"{', '.join(said)}; the same command resumes"
