import io
import zipfile

import numpy as np
import pytest

from minilora.storage import load_arrays, save_arrays, write_atomically


def test_round_trip_and_equal_bytes(tmp_path, rng):
    arrays = {"a/b": rng.standard_normal((3, 4)), "c": np.arange(5, dtype=np.uint8), "d": np.array(3)}
    save_arrays(tmp_path / "x.npz", arrays, {"note": [1, 2]})
    back, metadata = load_arrays(tmp_path / "x.npz")
    assert metadata == {"note": [1, 2]} and back.keys() == arrays.keys()
    for name in arrays:
        np.testing.assert_array_equal(back[name], arrays[name], strict=True)
    save_arrays(tmp_path / "y.npz", arrays, {"note": [1, 2]})
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    (tmp_path / ".x.stray.tmp").write_bytes(b"left by a killed write")

    def fails(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fails)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_forged_header_is_refused_before_memory_is_asked_for(tmp_path):
    entry = io.BytesIO()
    np.lib.format.write_array_header_1_0(entry, {"descr": "<f4", "fortran_order": False, "shape": (2**36,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("w.npy", entry.getvalue())
    with pytest.raises(ValueError, match="damaged or forged"):
        load_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("cut", [10, 200, 400])
def test_a_cut_file_is_an_error(tmp_path, rng, cut):
    save_arrays(tmp_path / "x.npz", {"a": rng.standard_normal(50)})
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:cut])
    with pytest.raises(ValueError, match="damaged"):
        load_arrays(tmp_path / "x.npz")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_arrays(tmp_path / "nothing.npz")
