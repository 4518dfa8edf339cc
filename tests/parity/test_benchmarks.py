"""A benchmark of two sides runs to its end: it measures a cell, says so, and keeps it."""

import json
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_a_cell_is_measured_and_kept(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import real
    import sides

    monkeypatch.setattr(sides, "HERE", tmp_path)
    monkeypatch.setattr(real, "write_weights", lambda folder: None)  # these products need none
    monkeypatch.setattr(sys, "argv", ["real.py", "--work", "products-128", "--threads", "1", "--rounds", "1"])
    real.main()
    (ours, theirs, *peaks) = json.loads((tmp_path / "real.json").read_text(encoding="utf-8"))["cells"]["1 products-128"]
    assert min(ours, theirs, *peaks) > 0
    assert "products-128: minilora" in capsys.readouterr().out
