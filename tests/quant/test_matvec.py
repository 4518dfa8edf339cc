"""Products straight from four bits equal those with the decoded matrix."""

import numpy as np
import pytest

from minilora import quantize
from minilora.quant import matvec as module
from minilora.quant.matvec import matvec


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("chunk", [1, 300, 2**18], ids=["tiny chunks", "small chunks", "one chunk"])
@pytest.mark.parametrize(("rows", "block_size"), [(1, 16), (4, 16), (1, 6), (2, 48)])
@pytest.mark.parametrize(
    ("code", "settings"),
    [("nf4", {}), ("nf4", {"double_quant": True}), ("fp4", {}), ("int4", {}), ("int4_affine", {})],
    ids=["nf4", "nf4, double", "fp4", "int4", "affine"],
)
def test_it_is_the_decoded_product(rng, monkeypatch, threads, chunk, rows, block_size, code, settings):
    for kind in (module.CodedMatrix, module.AffineMatrix):
        monkeypatch.setattr(kind, "chunk", (chunk, chunk))
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    w = (rng.standard_normal((21, 48)) + 0.5).astype(np.float32)
    q = quantize(w, code, block_size=block_size, **settings)
    x, y = rng.standard_normal((rows, 48)).astype(np.float32), np.full((rows, 30), np.nan, np.float32)
    work, last = matvec(q).shares(x, y[:, 4:25])
    for share in reversed(work):  # in any order
        share()
    last()
    if block_size == 16:  # three blocks to a row
        assert (len(work) == 1) == (chunk == 2**18 and threads == "1")
    np.testing.assert_allclose(y[:, 4:25], x @ q.dequantize().T, rtol=1e-4, atol=1e-4)
    assert np.isnan(y[:, :4]).all() and np.isnan(y[:, 25:]).all()


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("code", ["nf4", "int4_affine"])
def test_joined_it_is_each_of_them_in_its_columns(rng, monkeypatch, threads, code):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    tensors = [quantize(rng.standard_normal((rows, 48)).astype(np.float32), code, block_size=16) for rows in (21, 4, 7)]
    first, *others = [matvec(q) for q in tensors]
    one = first.joined(others)
    assert one.width == 32 and one.nbytes == sum(q.nbytes for q in tensors)
    assert {other.alike for other in others} == {first.alike} == {one.alike}
    x, y = rng.standard_normal((2, 48)).astype(np.float32), np.full((2, 32), np.nan, np.float32)
    work, last = one.shares(x, y)
    assert len(work) == int(threads)
    for share in work:
        share()
    last()
    np.testing.assert_allclose(y, x @ np.concatenate([q.dequantize() for q in tensors]).T, rtol=1e-4, atol=1e-4)


def test_only_matrices_of_one_code_and_block_size_are_alike(rng):
    w = rng.standard_normal((4, 48)).astype(np.float32)
    kinds = [("nf4", 16), ("nf4", 48), ("fp4", 16), ("int4_affine", 16), ("int4_affine", 48)]
    assert len({matvec(quantize(w, code, block_size=size)).alike for code, size in kinds}) == len(kinds)


def test_what_it_holds_beside_the_tensor(rng):
    w = rng.standard_normal((8, 64)).astype(np.float32)
    affine, nf4 = quantize(w, "int4_affine", block_size=32), quantize(w, "nf4", block_size=32)
    assert matvec(affine).nbytes == affine.nbytes
    assert matvec(nf4).nbytes == nf4.nbytes


@pytest.mark.parametrize(
    ("shape", "code", "block_size", "dtype"),
    [
        ((4, 24), "nf4", 16, np.float32),  # blocks straddle rows
        ((4, 27), "nf4", 9, np.float32),  # bytes do
        ((4, 32), "nf3", 16, np.float32),
        ((4, 32), "nf4", 16, np.float64),
        ((64,), "nf4", 16, np.float32),
    ],
)
def test_none_where_it_does_not_pay(rng, shape, code, block_size, dtype):
    assert matvec(quantize(rng.standard_normal(shape).astype(dtype), code, block_size=block_size)) is None
