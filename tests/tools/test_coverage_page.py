"""The page of coverage: sums by folder, rounded down, and the committed one keeps what the project promises."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def page():
    spec = importlib.util.spec_from_file_location("coverage_page", ROOT / "tools" / "coverage_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lines_are_summed_by_folder_and_shares_rounded_down():
    files = {
        "minilora/checks.py": (100, 0),
        "minilora/nn/llama.py": (10_000, 501),
        "minilora\\nn\\rope.py": (0, 0),
        "minilora/experiments/rank/rank_fit.py": (50, 25),
    }
    report = {
        "files": {n: {"summary": {"num_statements": a, "missing_lines": b}} for n, (a, b) in files.items()},
    }
    text = page().text(report)
    assert "| minilora | 100 | 0 | 100.0% |" in text and "| minilora/experiments | 50 | 25 | 50.0% |" in text
    assert "| minilora/nn | 10,000 | 501 | 94.9% |" in text and "run **94.8%** of 10,150 lines" in text


def test_the_committed_page_is_above_the_promise():
    text = (ROOT / "tools" / "COVERAGE.md").read_text(encoding="utf-8")
    assert float(re.search(r"run \*\*([\d.]+)%\*\*", text)[1]) >= 95
