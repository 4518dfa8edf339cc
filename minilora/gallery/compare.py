"""Are the committed numbers those that the code computes today?"""

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minilora.gallery.build import load, rounded
from minilora.gallery.registry import Figure


def check(figure: Figure, out: Path, each: Callable = map) -> list[str]:
    """Compute again and compare with NAME.json within its tolerance; returns a line for each number that differs.

    Where the stored numbers were made with other settings than today's, the settings are all that is compared.
    """
    if lines := other_settings(figure, out):
        return lines
    stored = load(figure, out)
    experiment = figure.experiment
    again = rounded(experiment.run(experiment.Config(), each))
    return [f"{figure.name}: {line}" for line in differences(stored["numbers"], again, stored["tolerance"])]


def other_settings(figure: Figure, out: Path) -> list[str]:
    """A line for each setting of the experiment's Config that NAME.json was not made with."""
    today = json.loads(json.dumps(asdict(figure.experiment.Config())))
    stored = load(figure, out)["config"]
    return [
        f"{figure.name}: config {key}: stored {stored.get(key)!r:.60}, today {today.get(key)!r:.60}; "
        f"run: python -m minilora figures {figure.name}"
        for key in sorted(today.keys() | stored.keys())
        if key not in stored or key not in today or stored[key] != today[key]
    ]


def differences(stored: Any, again: Any, tolerance: dict[str, Any], path: str = "") -> Iterator[str]:
    """A line for each place where two trees of numbers differ by more than atol + rtol * |stored|.

    `tolerance`: {"rtol", "atol", "overrides": {regular expression on the path: {"rtol", "atol"}}}. Texts have to be equal, but
    where their override is {"text": "any"}: what a trained model says turns on last bits.
    """
    limits = next((v for k, v in tolerance.get("overrides", {}).items() if re.search(k, path)), tolerance)
    if isinstance(stored, dict) and isinstance(again, dict) and stored.keys() == again.keys():
        for key in stored:
            yield from differences(stored[key], again[key], tolerance, f"{path}/{key}")
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        for i, (one, other) in enumerate(zip(stored, again, strict=True)):
            yield from differences(one, other, tolerance, f"{path}/{i}")
    elif isinstance(stored, (int, float)) and isinstance(again, (int, float)):
        if not math.isclose(stored, again, rel_tol=limits["rtol"], abs_tol=limits["atol"]):
            yield f"{path}: stored {stored}, computed {again} (rtol {limits['rtol']}, atol {limits['atol']})"
    elif stored != again and not (isinstance(stored, str) and isinstance(again, str) and limits.get("text") == "any"):
        yield f"{path}: stored {stored!r:.60}, computed {again!r:.60}"
