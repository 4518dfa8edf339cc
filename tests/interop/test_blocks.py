import numpy as np
import pytest

from minilora.interop.blocks import DECODERS, FORMATS, affine_from_q4_1
from minilora.quant import quantize

gguf = pytest.importorskip("gguf")


def stored(name, rng, blocks=5000):
    """Random bytes of a format, as the library sees them; scales are kept finite."""
    kind = gguf.GGMLQuantizationType[name]
    block, nbytes = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (blocks, nbytes), dtype=np.uint8)
    try:
        values = rng.standard_normal((blocks, block)).astype(np.float32)
        raw = gguf.quants.quantize(values, kind).reshape(blocks, nbytes)
    except NotImplementedError:  # the K-quants: any codes, with scales of about one
        place = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}[name]
        for start in place:
            raw[:, start : start + 2] = np.array([rng.uniform(0.5, 2)], np.float16).view(np.uint8)
    return kind, raw


@pytest.mark.parametrize("name", [name for name in DECODERS if name[0] in "QB"])
def test_decoders_are_the_librarys_bit_for_bit(name, rng):
    kind, raw = stored(name, rng)
    theirs = gguf.quants.dequantize(raw, kind).reshape(-1)
    assert theirs.std() > 0.1
    ours = DECODERS[name](raw.reshape(-1))
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs)


def test_every_type_of_the_library_is_known_with_its_size():
    theirs = {int(kind): (kind.name, *size) for kind, size in gguf.GGML_QUANT_SIZES.items()}
    theirs[9] = ("Q8_1", 32, 36)  # two float16 since 2024 in ggml-common.h; the library still says two float32
    assert {number: tuple(form) for number, form in FORMATS.items()} == theirs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_q4_1_is_affine_int4_in_blocks_of_32(rng, dtype):
    _, raw = stored("Q4_1", rng, blocks=64)
    values = DECODERS["Q4_1"](raw.reshape(-1)).reshape(16, 128)
    q = affine_from_q4_1(raw.reshape(-1), (16, 128), dtype)
    assert q.code == "int4_affine" and q.dequantize().dtype == dtype and q.bits_per_param == 4 + 2
    np.testing.assert_allclose(q.dequantize(), values, atol=5e-7)
    # The trap: what was Q4_1 before comes out of affine int4 unharmed, and of NF4 it does not.
    again = quantize(values, "int4_affine", block_size=32)
    np.testing.assert_allclose(again.dequantize(), values, atol=1e-6)
    assert np.abs(quantize(values, "nf4", block_size=32).dequantize() - values).mean() > 0.03
