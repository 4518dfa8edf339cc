"""The figures: from an experiment's numbers to a JSON file, from that file to SVG and PNG, and a check of both."""

import importlib
import inspect
import json
import math
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minilora import storage

DIGITS = 6  # significant digits that are stored


@dataclass(frozen=True)
class Figure:
    """A figure by name: `minilora.experiments.NAME` computes it, `minilora.plots.NAME` draws it."""

    name: str
    question: str
    fast: bool
    default: bool = True  # part of `make figures`

    @property
    def experiment(self):
        return importlib.import_module(f"minilora.experiments.{self.name}")

    @property
    def plot(self):
        return importlib.import_module(f"minilora.plots.{self.name}")


FIGURES = (
    Figure("codebooks", "Where do four bits put their sixteen values, and where are the weights?", fast=True),
    Figure("quantization_error", "How much does each 4-bit code lose, by block size and source?", fast=True),
    Figure("outliers", "Who helps against an outlier, the code or the blocks?", fast=True),
    Figure("scale_memory", "What do the scales cost, before and after double quantization?", fast=True),
    Figure("rank_known", "Does LoRA find a change of known rank, and how good can it be?", fast=True),
    Figure("rank_fit", "How much rank do an easy and a hard task need?", fast=False),
    Figure("base_training", "What has the shipped base learned, and when did it stop?", fast=True),
    Figure("lr_sweep", "Which learning rate suits each method? (chosen for rank_fit)", fast=False, default=False),
)


def select(names: list[str], *, fast_only: bool = False) -> list[Figure]:
    """The figures of these names (if none is given, those of `make figures`). ValueError that lists the names for an unknown one."""
    known = {figure.name: figure for figure in FIGURES}
    for name in names:
        if name not in known:
            raise ValueError(f"figure must be one of {', '.join(known)}; got {name!r}")
    chosen = [known[name] for name in names] or [figure for figure in FIGURES if figure.default]
    return [figure for figure in chosen if figure.fast or not fast_only]


def compute(figure: Figure, out: Path, *, executor=None) -> Path:
    """Run the experiment and write NAME.json: numbers, config, tolerance, caption and where they came from."""
    experiment = figure.experiment
    config = experiment.Config()
    # Finished runs are kept until all are done, so that a killed command goes on where it was.
    cache = Path(out) / ".runs"
    keep = {"cache": cache} if "cache" in inspect.signature(experiment.run).parameters else {}
    numbers = rounded(experiment.run(config, executor=executor, **keep))
    content = {
        "figure": figure.name,
        "caption": figure.plot.caption(numbers),
        "numbers": numbers,
        "config": asdict(config),
        "tolerance": experiment.TOLERANCE,
        "provenance": provenance(figure),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    path = Path(out) / f"{figure.name}.json"
    storage.write_atomically(path, lambda file: file.write(text.encode()))
    shutil.rmtree(cache, ignore_errors=True)
    return path


def load(figure: Figure, out: Path) -> dict[str, Any]:
    """What NAME.json holds. FileNotFoundError or ValueError that says how to make it."""
    path = Path(out) / f"{figure.name}.json"
    mend = f"run: python -m minilora figures {figure.name}"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; {mend}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {key: content[key] for key in ("caption", "numbers", "config", "tolerance", "provenance")}
    except (json.JSONDecodeError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); {mend}") from error


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
        for suffix, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            path = Path(out) / f"{figure.name}.{suffix}"
            storage.write_atomically(
                path, lambda file, s=suffix, m=metadata: drawing.savefig(file, format=s, metadata=m)
            )
        plt.close(drawing)
    return path


def check(figure: Figure, out: Path, *, executor=None) -> list[str]:
    """Compute again and compare with NAME.json within its tolerance; returns a line for each number that differs."""
    stored = load(figure, out)
    experiment = figure.experiment
    again = rounded(experiment.run(experiment.Config(), executor=executor))
    return [f"{figure.name}: {line}" for line in differences(stored["numbers"], again, stored["tolerance"])]


def differences(stored: Any, again: Any, tolerance: dict[str, Any], path: str = "") -> Iterator[str]:
    """A line for each place where two trees of numbers differ by more than atol + rtol * |stored|.

    `tolerance`: {"rtol", "atol", "overrides": {regular expression on the path: {"rtol", "atol"}}}.
    """
    if isinstance(stored, dict) and isinstance(again, dict) and stored.keys() == again.keys():
        for key in stored:
            yield from differences(stored[key], again[key], tolerance, f"{path}/{key}")
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        for i, (one, other) in enumerate(zip(stored, again, strict=True)):
            yield from differences(one, other, tolerance, f"{path}/{i}")
    elif isinstance(stored, (int, float)) and isinstance(again, (int, float)):
        limits = next((v for k, v in tolerance.get("overrides", {}).items() if re.search(k, path)), tolerance)
        if not math.isclose(stored, again, rel_tol=limits["rtol"], abs_tol=limits["atol"]):
            yield f"{path}: stored {stored}, computed {again} (rtol {limits['rtol']}, atol {limits['atol']})"
    elif stored != again:
        yield f"{path}: stored {stored!r:.60}, computed {again!r:.60}"


def rounded(value: Any) -> Any:
    """Floats rounded to 6 significant digits throughout a tree; numpy scalars become Python's."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if hasattr(value, "tolist"):
        return rounded(value.tolist())
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def provenance(figure: Figure) -> dict[str, Any]:
    """Where numbers came from: versions, processor kernel, threads, the base's hash, and the command."""
    import matplotlib
    import numpy as np
    import scipy

    from minilora import __version__
    from minilora.assets import base_sha256

    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return {
        "command": f"python -m minilora figures {figure.name}",
        "minilora": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "matplotlib": matplotlib.__version__,
        "machine": platform.machine(),
        "blas": np.show_config(mode="dicts")["Build Dependencies"]["blas"].get("name"),
        "cpu_kernel": (simd.get("found") or simd.get("baseline") or ["unknown"])[-1],
        "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS", "default; 1 in workers"),
        "base_sha256": base_sha256(),
    }


def write_pages(out: Path) -> None:
    """Write the gallery (README.md beside the figures) and, in a checkout, the findings block of the README."""
    out = Path(out)
    done = [figure for figure in FIGURES if (out / f"{figure.name}.json").is_file()]
    parts = ["# Figures\n\nMade by `make figures`; this page is generated from the JSON files.\n"]
    for figure in done:
        caption = _plain(load(figure, out)["caption"])
        links = f"[numbers]({figure.name}.json), [SVG]({figure.name}.svg)"
        parts.append(
            f"## {figure.name}\n\n{figure.question}\n\n![{figure.name}]({figure.name}.png)\n\n{caption} ({links})\n"
        )
    page = "\n".join(parts)
    storage.write_atomically(out / "README.md", lambda file: file.write(page.encode()))
    readme = out.resolve().parent / "README.md"
    begin, end = "<!-- findings:begin -->", "<!-- findings:end -->"
    if readme.is_file() and begin in (text := readme.read_text(encoding="utf-8")):
        lines = "\n".join(f"- **[{f.name}](figures/{f.name}.png)** {_plain(load(f, out)['caption'])}" for f in done)
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{lines}\n{end}{rest.split(end)[1]}"
        storage.write_atomically(readme, lambda file: file.write(text.encode()))


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: a sample says "__str__", which is not meant bold, and 64*256 no slanted word."""
    return text.replace("_", r"\_").replace("*", r"\*")
