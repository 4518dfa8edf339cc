import tracemalloc

import numpy as np
import pytest

from minilora import quantize
from minilora.analysis.error import mean_absolute_error, rms_error
from minilora.interop.npz import NpzFile
from minilora.interop.survey import survey, total


@pytest.fixture
def tensors(tmp_path, rng):
    arrays = {
        "w": rng.standard_normal((64, 64)).astype(np.float32),
        "tail": rng.standard_t(3, (32, 48)).astype(np.float32),
        "gain": np.ones(5, np.float32),
        "ids": np.arange(6).reshape(2, 3),
        "zero": np.zeros((4, 4), np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }
    np.savez(tmp_path / "file.npz", **arrays)
    return NpzFile(tmp_path / "file.npz"), arrays


def test_a_row_for_each_tensor(tensors):
    file, arrays = tensors
    rows = {row["name"]: row for row in survey(file, ["nf4", "int4_affine"], [32, 64], double_quant=True)}
    assert {name: row["skipped"] for name, row in rows.items() if row["skipped"]} == {
        "gain": "a vector",
        "ids": "integers",
        "zero": "all zero",
        "empty": "no matrix",
    }
    for name in ("w", "tail"):
        w = arrays[name]
        assert [(r["code"], r["block_size"]) for r in rows[name]["results"]] == [
            ("nf4", 32),
            ("nf4", 64),
            ("int4_affine", 32),
            ("int4_affine", 64),
        ]
        for result in rows[name]["results"]:
            q = quantize(w, result["code"], block_size=result["block_size"], double_quant=result["code"] == "nf4")
            assert result["bytes"] == q.nbytes and result["bits_per_param"] == q.bits_per_param
            assert result["rms_error"] == pytest.approx(rms_error(q.dequantize(), w))
            assert result["mean_absolute_error"] == pytest.approx(mean_absolute_error(q.dequantize(), w))
    assert 2.5 < rows["w"]["kurtosis"] < 3.5 < rows["tail"]["kurtosis"]


def test_all_together(tensors):
    file, arrays = tensors
    rows = list(survey(file, ["nf4"], [64]))
    (together,) = total(rows)
    flat = np.concatenate([arrays["w"].reshape(-1), arrays["tail"].reshape(-1)])
    decoded = np.concatenate([quantize(arrays[name]).dequantize().reshape(-1) for name in ("w", "tail")])
    assert together["rms_error"] == pytest.approx(rms_error(decoded, flat))
    assert together["mean_absolute_error"] == pytest.approx(mean_absolute_error(decoded, flat))
    assert together["bytes"] == sum(row["results"][0]["bytes"] for row in rows if row["results"])
    assert together["bits_per_param"] == pytest.approx(8 * together["bytes"] / flat.size)


def test_bad_arguments_are_refused_before_anything_is_read(tensors):
    file, _ = tensors
    for codes, sizes, message in (([], [64], "codes"), (["nf99"], [64], "code must be"), (["nf4"], [0], "block_size")):
        with pytest.raises(ValueError, match=message):
            next(survey(file, codes, sizes))


@pytest.mark.parametrize(
    ("bad", "dtype", "message"),
    [
        (np.nan, np.float32, r"layers\.3\.q as float32 must be finite, got nan at index \(0, 1\)"),
        (-np.inf, np.float16, r"layers\.3\.q as float32 must be finite, got -inf at index \(0, 1\)"),
        (1e300, np.float64, r"layers\.3\.q as float32 must be finite, got inf at index \(0, 1\)"),
        (3e38, np.float32, r"layers\.3\.q: w must have max - min below 3.4e38 in every block for 'int4_affine'"),
    ],
)
def test_a_tensor_that_cannot_be_quantized_is_named_with_its_file(tmp_path, bad, dtype, message):
    w = np.full((4, 4), -1, dtype)
    w[0, 0] = -3e4 if dtype == np.float16 else -3e38
    w[0, 1] = bad
    np.savez(tmp_path / "file.npz", **{"layers.2.q": np.eye(4), "layers.3.q": w})
    rows = survey(NpzFile(tmp_path / "file.npz"), ["nf4", "int4_affine"], [64])
    assert next(rows)["name"] == "layers.2.q"
    with pytest.raises(ValueError, match=f"file.npz: {message}"):
        next(rows)


def test_one_tensor_in_memory_at_a_time(tmp_path):
    w = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    np.savez(tmp_path / "file.npz", **{f"w{i}": w for i in range(40)})
    file = NpzFile(tmp_path / "file.npz")
    tracemalloc.start()
    for _ in survey(file, ["nf4"], [64]):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (tmp_path / "file.npz").stat().st_size / 3
