"""From an experiment's numbers to a JSON file, and from that file to SVG and PNG."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minilora import storage
from minilora.gallery.provenance import provenance
from minilora.gallery.registry import Figure

COMMITTED = Path(__file__).resolve().parents[2] / "figures"  # of the checkout that this package stands in
DIGITS = 6  # significant digits that are stored


def compute(figure: Figure, out: Path, each: Callable = map) -> Path:
    """Run the experiment and write NAME.json: numbers, config, tolerance, caption and where they came from.

    `each`: what the experiment runs its items with (see `minilora.experiments`).
    """
    experiment = figure.experiment
    config = experiment.Config()
    start = time.process_time()
    numbers = rounded(experiment.run(config, each))
    runs = getattr(each, "runs", 0)
    seconds = each.seconds if runs else time.process_time() - start
    content = {
        "figure": figure.name,
        "caption": figure.plot.caption(numbers),
        "numbers": numbers,
        "config": asdict(config),
        "tolerance": experiment.TOLERANCE,
        "provenance": provenance(figure, runs=runs, seconds=seconds),
    }
    return _write(figure, out, content)


def rewrite_caption(figure: Figure, out: Path) -> None:
    """Word the caption in NAME.json again, from its numbers: a new sentence computes nothing."""
    content = load(figure, out)
    caption = figure.plot.caption(content["numbers"])
    if caption != content["caption"]:
        _write(figure, out, {"figure": figure.name} | content | {"caption": caption})


def load(figure: Figure, out: Path) -> dict[str, Any]:
    """What NAME.json holds. FileNotFoundError or ValueError that says how to make it."""
    path = Path(out) / f"{figure.name}.json"
    remedy = f"run: python -m minilora figures {figure.name}"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; {remedy}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {key: content[key] for key in ("caption", "numbers", "config", "tolerance", "provenance")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); {remedy}") from error


def draw(figure: Figure, out: Path) -> Path:
    """Draw NAME.svg and NAME.png from NAME.json alone; the same numbers give the same bytes."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib import pyplot as plt

    from minilora.plots.style import RC

    numbers = load(figure, out)["numbers"]
    with plt.rc_context():
        matplotlib.rcdefaults()  # a reader's own matplotlibrc must not get into the picture
        matplotlib.rcParams.update(RC)
        drawing, axes = plt.subplots(**figure.plot.LAYOUT)
        figure.plot.draw(axes, numbers)
        settle(drawing)
        for suffix, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            path = Path(out) / f"{figure.name}.{suffix}"
            storage.write_atomically(
                path, lambda file, s=suffix, m=metadata: drawing.savefig(file, format=s, metadata=m)
            )
        plt.close(drawing)
    return path


def settle(drawing: Any) -> None:
    """Lay out a matplotlib figure for good, its axes in places of six digits.

    What finds the layout (kiwisolver) goes through its unknowns in the order of their addresses, so the last bits differ from
    process to process; they would reach the files.
    """
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")
    for ax in drawing.axes:
        ax.set_position([round(value, DIGITS) for value in ax.get_position(original=True).bounds])


def _write(figure, out, content):
    path = Path(out) / f"{figure.name}.json"
    storage.write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def rounded(value: Any) -> Any:
    """Floats rounded to 6 significant digits throughout a tree; numpy scalars become Python's, tuples lists."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if hasattr(value, "tolist"):
        return rounded(value.tolist())
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
