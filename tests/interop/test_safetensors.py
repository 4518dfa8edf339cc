import numpy as np
import pytest
from hostile import SAFETENSORS, fuzz, open_safetensors, verdict

library = pytest.importorskip("safetensors")
from safetensors.numpy import load_file, save_file  # noqa: E402

from minilora.interop.safetensors import NAMES, SafetensorsFile, save_safetensors, write_safetensors  # noqa: E402


@pytest.fixture
def arrays(rng):
    values = {f"{name}.{dtype}": (rng.standard_normal((3, 5)) * 50).astype(dtype) for dtype in NAMES for name in "ba"}
    return values | {"empty": np.zeros((2, 0), np.float32), "scalar": np.array(3.0)}


def test_the_same_bytes_as_the_library_writes(arrays, tmp_path):
    save_safetensors(tmp_path / "ours", arrays, {"k": "v"})
    save_file(arrays, tmp_path / "theirs", {"k": "v"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_reading_what_the_library_wrote(arrays, tmp_path):
    save_file(arrays, tmp_path / "file", {"k": "v"})
    file = SafetensorsFile(tmp_path / "file")
    assert file.metadata == {"k": "v"} and set(file) == set(arrays) and len(file) == len(arrays)
    for name, array in arrays.items():
        assert file[name].shape == array.shape and file[name].nbytes == array.nbytes
        assert file[name].read().dtype == array.dtype
        np.testing.assert_array_equal(file[name].read(), array)


def test_writing_takes_one_tensor_at_a_time_and_in_bfloat16(tmp_path):
    asked = []

    def arrays():
        for i in range(3):
            asked.append(i)
            yield np.full((2, 2), i, np.float32)

    shapes = {f"w{i}": ((2, 2), "BF16" if i else "float32") for i in range(3)}
    write_safetensors(tmp_path / "file", shapes, arrays())
    file = SafetensorsFile(tmp_path / "file")
    assert asked == [0, 1, 2] and [file[name].dtype for name in shapes] == ["F32", "BF16", "BF16"]
    for i, name in enumerate(shapes):
        np.testing.assert_array_equal(file[name].read(), np.full((2, 2), i))
    before = (tmp_path / "file").read_bytes()
    with pytest.raises(ValueError, match="w1 must have the shape"):
        write_safetensors(tmp_path / "file", shapes | {"w1": ((3, 2), "float32")}, arrays())
    assert (tmp_path / "file").read_bytes() == before


def test_a_dtype_without_a_decoder_is_named_when_it_is_read(tmp_path):
    header = b'{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    (tmp_path / "file").write_bytes(len(header).to_bytes(8, "little") + header + b"12")
    tensor = SafetensorsFile(tmp_path / "file")["a"]
    assert tensor.shape == (2,)
    with pytest.raises(ValueError, match="a is stored as F8_E4M3"):
        tensor.read()


@pytest.mark.parametrize(("data", "sound"), SAFETENSORS.values(), ids=SAFETENSORS.keys())
def test_hostile_files_have_the_librarys_verdict_within_twice_their_memory(data, sound, tmp_path):
    result, peak, _ = verdict(open_safetensors, data, tmp_path)
    assert result == ("sound" if sound else "refused")
    assert peak < 2 * len(data) + 2**16
    try:
        load_file(tmp_path / "hostile.bin")
    except library.SafetensorError:
        assert not sound
    except (ValueError, OverflowError):  # numpy's word on a shape that it cannot make
        assert verdict(open_safetensors, data, tmp_path, read=True).result == "refused"
    else:
        assert sound


def test_mutated_files_are_read_or_refused():
    results = fuzz("safetensors", 150, seed=1)["verdicts"]
    assert set(results) == {"sound", "refused"} and results["refused"] > results["sound"] > 0
