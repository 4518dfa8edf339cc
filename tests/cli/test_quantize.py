import json

import numpy as np
import pytest

from minilora.cli import main


@pytest.fixture
def path(tmp_path, rng):
    arrays = {"w": rng.standard_normal((64, 64)), "norm": np.ones(8), "long." * 12: rng.standard_normal((8, 64))}
    np.savez(tmp_path / "file.npz", **arrays)
    return str(tmp_path / "file.npz")


def test_a_table_of_errors_and_bytes(path, capsys):
    assert main(["quantize", path, "--codes", "nf4,int4", "--block-sizes", "32,64"]) == 0
    said = capsys.readouterr().out
    assert "nf4/32" in said and "int4/64" in said and "skipped   1 tensors (a vector), norm the first" in said
    assert "matrices  2, 4,608 values" in said and "4.500 bits per parameter" in said
    assert "..." in said  # a long name is cut at its front


def test_json_holds_all(path, capsys):
    assert main(["quantize", path, "--codes", "nf4", "--double-quant", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in numbers["tensors"] if row["results"]][0] == "w"
    assert numbers["double_quant"] and 0.08 < numbers["total"][0]["rms_error"] < 0.1


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_plot_has_the_same_bytes_each_time(path, tmp_path, suffix):
    for name in ("one", "two"):
        command = ["quantize", path, "--codes", "nf4,nf3,af4", "--plot", str(tmp_path / f"{name}.{suffix}"), "--quiet"]
        assert main(command) == 0
    assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--codes", "nf99"], "code must be one of"),
        (["--block-sizes", "x"], "--block-sizes must be whole numbers"),
        (["--plot", "x.pdf"], "--plot must end in"),
    ],
)
def test_unusable_arguments(path, capsys, arguments, message):
    assert main(["quantize", path, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_package_is_said_with_the_command(tmp_path, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "a.safetensors").write_bytes(b"")
    assert main(["quantize", str(tmp_path / "a.safetensors")]) == 2
    assert "needs the package safetensors, which is not installed; run: python -m pip" in capsys.readouterr().err
