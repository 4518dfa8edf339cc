import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from minilora import gallery
from minilora.cli import main

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "figures"


@pytest.mark.parametrize("figure", gallery.FIGURES, ids=lambda figure: figure.name)
def test_redrawn_byte_for_byte(figure, tmp_path):
    drawn_by = (ROOT / "constraints.txt").read_text()
    if f"matplotlib=={matplotlib.__version__}" not in drawn_by:
        pytest.skip("another matplotlib draws other bytes; make test installs the one that drew the committed figures")
    shutil.copy(FIGURES / f"{figure.name}.json", tmp_path)
    gallery.draw(figure, tmp_path)
    for suffix in ("svg", "png"):
        assert (tmp_path / f"{figure.name}.{suffix}").read_bytes() == (FIGURES / f"{figure.name}.{suffix}").read_bytes()


@pytest.mark.parametrize("figure", gallery.FIGURES, ids=lambda figure: figure.name)
def test_captions_are_made_from_the_numbers(figure):
    content = gallery.load(figure, FIGURES)
    assert figure.plot.caption(content["numbers"]) == content["caption"]
    assert {"command", "numpy", "base_sha256", "blas_threads", "cpu_kernel"} <= content["provenance"].keys()


def test_pages_are_current(tmp_path):
    copy = shutil.copytree(FIGURES, tmp_path / "figures", ignore=shutil.ignore_patterns(".runs"))
    shutil.copy(ROOT / "README.md", tmp_path)
    gallery.write_pages(copy)
    assert (copy / "README.md").read_text() == (FIGURES / "README.md").read_text()
    assert (tmp_path / "README.md").read_text() == (ROOT / "README.md").read_text()


def test_check_names_what_differs(tmp_path):
    figure = gallery.select(["scale_memory"])[0]
    path = Path(shutil.copy(FIGURES / "scale_memory.json", tmp_path))
    assert gallery.check(figure, tmp_path) == []
    content = json.loads(path.read_text())
    content["numbers"]["headline"]["double"] = 0.128
    path.write_text(json.dumps(content))
    (line,) = gallery.check(figure, tmp_path)
    assert "/headline/double" in line and "0.128" in line and "0.126953" in line


def test_differences_see_structure_and_tolerance():
    tolerance = {"rtol": 0.1, "atol": 0, "overrides": {"/exact": {"rtol": 0, "atol": 0}}}
    assert not list(gallery.differences({"a": [1.0]}, {"a": [1.05]}, tolerance))
    assert len(list(gallery.differences({"a": [1.0]}, {"a": [1.2]}, tolerance))) == 1
    assert len(list(gallery.differences({"exact": 1.0}, {"exact": 1.01}, tolerance))) == 1
    assert len(list(gallery.differences({"a": [1.0]}, {"a": [1.0, 2.0]}, tolerance))) == 1
    assert len(list(gallery.differences({"a": 1.0}, {"b": 1.0}, tolerance))) == 1


def test_command_line(capsys, tmp_path):
    assert main(["figures", "--list"]) == 0
    assert "rank_fit" in capsys.readouterr().out
    assert main(["figures", "nonsense"]) == 2
    assert "codebooks" in capsys.readouterr().err
    assert main(["figures", "codebooks", "--redraw", "--out", str(tmp_path)]) == 2
    assert "python -m minilora figures codebooks" in capsys.readouterr().err
    (tmp_path / "codebooks.json").write_text("{")
    assert main(["figures", "codebooks", "--redraw", "--out", str(tmp_path)]) == 2
    assert "damaged" in capsys.readouterr().err
    assert main([]) == 0
    assert "figures" in capsys.readouterr().out


def test_doctor(capsys, monkeypatch):
    assert main(["doctor"]) == 0
    assert "numpy" in capsys.readouterr().out
    monkeypatch.setattr("minilora.cli.doctor.installed", lambda name: None if name == "scipy" else "99.0")
    assert main(["doctor"]) == 1
    assert "pip install 'scipy>=1.14'" in capsys.readouterr().out
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "999")
    main(["doctor"])
    assert "more threads than cores" in capsys.readouterr().out


def test_doctor_asks_the_blas_how_many_threads_it_uses():
    code = "from minilora.machine import blas_threads; print(blas_threads())"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OPENBLAS_NUM_THREADS": told},
            capture_output=True,
            text=True,
        ).stdout.strip()
        for told in ("1", "2")
    ]
    assert said in (["1", "2"], ["1", "1"], ["None", "None"])  # two threads need two cores; None: another BLAS


def test_captions_are_shown_as_they_are():
    """A sample of the base says "__str__": Markdown would make it bold."""
    findings = (ROOT / "README.md").read_text(encoding="utf-8").split("findings:begin -->")[1].split("<!--")[0]
    assert r"\_\_" in findings and "__" not in findings
