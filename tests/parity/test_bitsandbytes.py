"""Against bitsandbytes on a CPU: the same bytes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
functional = pytest.importorskip("bitsandbytes.functional")

from minilora.interop.bitsandbytes import from_bitsandbytes, to_bitsandbytes  # noqa: E402
from minilora.quant import quantize, quantize_scales, scale_map  # noqa: E402

SHAPES = [(256, 256), (37, 53), (5,), (64,), (3, 4096), (1,), (63, 65), (48, 48)]
AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"


def values(kind, shape):
    w = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if kind == "ties and zeros":
        w = np.round(w * 4) / 4
        w[: max(1, len(w) // 2)] = 0
    return w * np.float32(1e-39) if kind == "denormal" else w


@pytest.mark.parametrize("code", ["nf4", "fp4"])
@pytest.mark.parametrize("block_size", [32, 64, 128, 256, 512, 1024, 2048, 4096])
@pytest.mark.parametrize("kind", ["normal", "ties and zeros", "denormal"])
def test_packed_codes_and_absmax_bit_for_bit(code, block_size, kind):
    for shape in SHAPES:
        w = values(kind, shape)
        packed, state = functional.quantize_4bit(torch.tensor(w), blocksize=block_size, quant_type=code)
        q = quantize(w, code, block_size=block_size)
        np.testing.assert_array_equal(q.packed, packed.numpy().ravel())
        np.testing.assert_array_equal(q.scales, state.absmax.numpy())


@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_dequantized_values(code):
    # Only where the last axis holds whole blocks: see the next tests for others.
    w = values("normal", (128, 128))
    packed, state = functional.quantize_4bit(torch.tensor(w), blocksize=64, quant_type=code)
    theirs = functional.dequantize_4bit(packed, state).numpy()
    np.testing.assert_allclose(quantize(w, code).dequantize(), theirs, rtol=3e-7)


def rows_of_other_lengths(code, shape):
    """(our tensor, their packed codes and state), of rows that are not a whole number of blocks of 64."""
    w = values("normal", shape)
    return quantize(w, code, block_size=64), *functional.quantize_4bit(torch.tensor(w), blocksize=64, quant_type=code)


@pytest.mark.parametrize("code", ["nf4", "fp4"])
@pytest.mark.parametrize("shape", [(48, 48), (128, 96), (3, 80)])
def test_a_block_may_end_within_a_row(code, shape):
    q, packed, state = rows_of_other_lengths(code, shape)
    assert q.packed.tobytes() == packed.numpy().tobytes() and q.scales.tobytes() == state.absmax.numpy().tobytes()
    # What the bytes mean, by their own map: the first code in the upper half, blocks of 64 across the ends of rows.
    raw = packed.numpy().ravel()
    codes = np.stack([raw >> 4, raw & 15], axis=1).ravel()
    absmax = np.repeat(state.absmax.numpy(), 64)[: codes.size]
    np.testing.assert_array_equal(q.dequantize().ravel(), state.code.numpy()[codes] * absmax)


@pytest.mark.skipif(not AVX512, reason="only bitsandbytes' AVX-512 path is wrong")
@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="bitsandbytes 0.50.2 takes the scales of other blocks where a row ends within one. If this passes, it was "
    "mended: drop this mark, and compare all shapes in the tests that now leave out rows of other lengths",
)
@pytest.mark.parametrize("code", ["nf4", "fp4"])
@pytest.mark.parametrize("shape", [(48, 48), (128, 96), (3, 80)])
def test_bitsandbytes_decodes_a_block_that_ends_within_a_row(code, shape):
    q, packed, state = rows_of_other_lengths(code, shape)
    np.testing.assert_allclose(functional.dequantize_4bit(packed, state).numpy(), q.dequantize(), rtol=3e-7)


def test_dynamic_map_bit_for_bit():
    np.testing.assert_array_equal(scale_map("dynamic"), functional.create_dynamic_map().numpy())


def test_nested_scales_bit_for_bit_with_the_offset_given():
    w = values("normal", (1024, 1024))
    _, state = functional.quantize_4bit(torch.tensor(w), blocksize=64, quant_type="nf4", compress_statistics=True)
    ours = quantize_scales(quantize(w).scales, offset=float(state.offset), lookup="table")
    np.testing.assert_array_equal(ours.codes, state.absmax.numpy())
    np.testing.assert_array_equal(ours.absmax, state.state2.absmax.numpy())
    nearest = quantize_scales(quantize(w).scales, offset=float(state.offset))
    assert 0 < np.mean(nearest.codes != ours.codes) < 0.005  # the table misses the nearest now and then


@pytest.mark.parametrize("code", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_state_dicts_byte_for_byte(code, nested, shape):
    w = torch.tensor(values("normal", shape))
    packed, state = functional.quantize_4bit(w, blocksize=64, quant_type=code, compress_statistics=nested)
    theirs = {"weight": packed} | {f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}
    theirs = {name: tensor.numpy() for name, tensor in theirs.items()}
    q = from_bitsandbytes(theirs)
    ours = to_bitsandbytes(q)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (array.dtype, array.shape)
        assert ours[name].tobytes() == array.tobytes()
    if shape[-1] % 64 == 0:  # elsewhere bitsandbytes' AVX-512 path is wrong, see above
        expected = functional.dequantize_4bit(packed, state).numpy().reshape(shape)
        np.testing.assert_allclose(q.dequantize(), expected, rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("nested", [False, True])
def test_a_layer_of_bitsandbytes_loads_what_is_written_here(nested):
    import bitsandbytes

    w = values("normal", (32, 128))
    q = quantize(w, "nf4", double_quant=nested)
    state = {name: torch.tensor(array.copy()) for name, array in to_bitsandbytes(q).items()}
    layer = bitsandbytes.nn.Linear4bit(128, 32, bias=False, quant_type="nf4", compute_dtype=torch.float32)
    rest = {name.removeprefix("weight."): value for name, value in state.items() if name != "weight"}
    layer.weight = bitsandbytes.nn.Params4bit.from_prequantized(state["weight"], rest, device="cpu")
    x = np.random.default_rng(1).standard_normal((4, 128)).astype(np.float32)
    np.testing.assert_allclose(layer(torch.tensor(x)).detach().numpy(), x @ q.dequantize().T, atol=1e-4)


@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_errors_at_block_32(code):
    # Below its table of errors (tests/interop/test_bitsandbytes.py): the same values, so the same errors.
    w = values("normal", (1024, 1024))
    packed, state = functional.quantize_4bit(torch.tensor(w), blocksize=32, quant_type=code)
    theirs = np.abs(functional.dequantize_4bit(packed, state).numpy() - w)
    ours = np.abs(quantize(w, code, block_size=32).dequantize() - w)
    assert ours.mean() == pytest.approx(theirs.mean(), rel=1e-6)
    relative = [(error / (np.abs(w) + 1e-8)).mean() for error in (ours, theirs)]
    assert relative[0] == pytest.approx(relative[1], rel=1e-6)
