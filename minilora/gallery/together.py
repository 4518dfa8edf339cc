"""Many figures in one go: one bar over all of them, finished runs kept until the last is done."""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from minilora import storage
from minilora.gallery.bar import FiguresBar
from minilora.gallery.build import COMMITTED, compute, draw, load, rewrite_caption
from minilora.gallery.compare import check
from minilora.gallery.pages import write_pages
from minilora.gallery.registry import Figure
from minilora.parallel import RunFailed, SideBySide, in_processes

EXPECTED = 60.0  # seconds, of a figure that has not been computed yet


def make(figures: Sequence[Figure], out: Path, *, side_by_side: Callable = in_processes) -> None:
    """Compute and draw figures into `out`, and write the pages.

    A figure whose run fails does not stop the others: RunFailed at the end names all that failed. Stopped at any moment,
    the same call computes only the runs that are missing, those of finished figures included.
    """
    failures = []
    with FiguresBar({figure.name: expected(figure, out) for figure in figures}) as bar:
        for figure in figures:
            bar.start(figure.name)
            try:
                compute(figure, out, kept_runs(figure, out, bar, side_by_side))
                bar.say(draw(figure, out))
            except RunFailed as error:
                failures.append(f"{figure.name}: {error}")
                bar.say(f"{figure.name} failed")
            bar.finish()
    write_pages(out)
    if failures:
        raise RunFailed("\n".join([*failures, "finished runs are kept; the same command computes what is missing"]))
    forget_runs(figures, out)


def redraw(figures: Iterable[Figure], out: Path) -> list[Path]:
    """Draw figures from their numbers, and word their captions again. Returns the pictures.

    Where `out` has no numbers, it first gets those of the checkout. FileNotFoundError if there are no numbers in either place.
    """
    paths = []
    for figure in figures:
        source = numbers_path(figure, out)
        if source is not None and source.parent != Path(out):
            storage.write_text(Path(out) / source.name, source.read_text(encoding="utf-8"))
        rewrite_caption(figure, out)
        paths.append(draw(figure, out))
    write_pages(out)
    return paths


def numbers_path(figure: Figure, out: Path) -> Path | None:
    """Where the figure's numbers are: in `out`, or else those of the checkout; None if in neither."""
    paths = (Path(folder) / f"{figure.name}.json" for folder in (out, COMMITTED))
    return next((path for path in paths if path.is_file()), None)


def check_again(figures: Sequence[Figure], out: Path, *, side_by_side: Callable = in_processes) -> list[str]:
    """Compute figures again and compare with `out`: a line for each number or setting that differs."""
    lines = []
    with FiguresBar({figure.name: expected(figure, out) for figure in figures}) as bar:
        for figure in figures:
            bar.start(figure.name)
            lines += check(figure, out, kept_runs(figure, out, bar, side_by_side))
            bar.finish()
    forget_runs(figures, out)
    return lines


def kept_runs(figure: Figure, out: Path, progress: Any, side_by_side: Callable = in_processes) -> SideBySide:
    """The `each` of a figure: its runs are kept in a folder of their own."""
    return SideBySide(desc=figure.name, keep=runs_folder(figure, out), compute=side_by_side, progress=progress)


def runs_folder(figure: Figure, out: Path) -> Path:
    """Where the finished runs of a figure are kept until the command that wanted them is done."""
    return Path(out) / ".runs" / figure.name


def forget_runs(figures: Iterable[Figure], out: Path) -> None:
    """Remove the kept runs of these figures, and of no others: all that was asked for is done."""
    for figure in figures:
        shutil.rmtree(runs_folder(figure, out), ignore_errors=True)
    with contextlib.suppress(OSError):  # others' runs are in it, or it is not there
        (Path(out) / ".runs").rmdir()


def expected(figure: Figure, out: Path) -> tuple[float, int]:
    """What all runs of the figure took together, in seconds of a processor, when it was last computed, here or for the checkout, and how
    many they were (0 if it never was)."""
    for folder in (out, COMMITTED):
        with contextlib.suppress(OSError, ValueError, KeyError):
            provenance = load(figure, folder)["provenance"]
            return max(1.0, float(provenance["seconds"])), int(provenance["runs"])
    return EXPECTED, 0
