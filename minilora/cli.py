"""The command line: each command a thin call."""

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code (0 fine, 1 something differs or fails, 2 unusable arguments)."""
    parser = argparse.ArgumentParser(prog="minilora", description="LoRA and QLoRA from scratch in NumPy.")
    commands = parser.add_subparsers(dest="command")

    figures = commands.add_parser("figures", help="compute and draw the figures")
    figures.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    figures.add_argument("--list", action="store_true", help="name them")
    figures.add_argument("--redraw", action="store_true", help="draw from the stored numbers, compute nothing")
    figures.add_argument("--check", action="store_true", help="compute again and compare with the stored numbers")
    figures.add_argument("--fast", action="store_true", help="only those that take seconds")
    figures.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR", help="folder (default: figures)")

    commands.add_parser("doctor", help="what is installed here, what is missing, how to mend it")
    base = commands.add_parser("base", help="train the base model anew")
    base.add_argument("--out", type=Path, default=None, metavar="FILE", help="where (default: in the package)")

    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        return {"figures": _figures, "doctor": _doctor, "base": _base}[args.command](args)
    except (ValueError, OSError) as error:
        print(f"minilora: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minilora: stopped; finished runs are kept, the same command goes on from there", file=sys.stderr)
        return 130


def _figures(args) -> int:
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
    return 0


def _doctor(args) -> int:
    from minilora.doctor import examine

    lines, healthy = examine()
    print("\n".join(lines))
    return 0 if healthy else 1


def _base(args) -> int:
    from minilora.assets.base import BASE_PATH
    from minilora.assets.pretrain import main as pretrain

    metadata = pretrain(args.out or BASE_PATH)
    print(f"held-out loss {metadata['curve']['eval'][-1][1]} nats a byte")
    for text in metadata["samples"]:
        print(f"---\n{text}")
    return 0
