import numpy as np
import pytest

from minilora.interop.tensors import FileTensor, bfloat16, existing_file, plain, to_bfloat16


def test_a_tensor_is_read_when_it_is_asked_for(tmp_path, rng):
    values = rng.standard_normal((3, 4)).astype(np.float32)
    path = tmp_path / "file"
    path.write_bytes(b"12345" + values.tobytes())
    tensor = FileTensor(path, "w", (3, 4), "F32", 5, values.nbytes, plain("<f4"))
    np.testing.assert_array_equal(tensor.read(), values)
    assert tensor.read(np.float64).dtype == np.float64 and tensor.read().flags.writeable
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="file ends inside w: 47 of 48 bytes"):
        tensor.read()


def test_bfloat16_there_and_back():
    bits = np.arange(2**16, dtype=np.uint16)
    values = bfloat16(bits.view(np.uint8))
    finite = np.isfinite(values)
    np.testing.assert_array_equal(to_bfloat16(values[finite]), bits[finite])
    one, next_up = bfloat16(np.array([0x3F80, 0x3F81], np.uint16).view(np.uint8))
    middle = np.float32((one + next_up) / 2)  # a tie: to the even one, below
    assert one == 1.0 and bfloat16(to_bfloat16(np.array([middle])).view(np.uint8))[0] == one
    assert bfloat16(to_bfloat16(np.nextafter([middle], np.float32(2))).view(np.uint8))[0] == next_up
    for bad in (np.nan, np.inf, np.finfo(np.float32).max):
        with pytest.raises(ValueError, match="stored as bfloat16"):
            to_bfloat16(np.array([bad], np.float32))


def test_a_path_that_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        existing_file(tmp_path)
    with pytest.raises(TypeError, match="path must be"):
        existing_file(3)


def test_what_is_not_finite_is_read_without_a_warning(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(np.array([1e300, np.nan], np.float64).tobytes())
    values = FileTensor(path, "w", (2,), "F64", 0, 16, plain("<f8")).read(np.float32)
    assert np.isinf(values[0]) and np.isnan(values[1])
