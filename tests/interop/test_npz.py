import io
import zipfile

import numpy as np
import pytest
from hostile import fuzz

from minilora.interop.npz import NpzFile


@pytest.fixture
def arrays(rng):
    names = ("float16", "float32", "float64", "int8", "uint16", "int64", "bool", ">f4")
    return {name: (rng.standard_normal((3, 4)) * 9).astype(name) for name in names} | {"scalar": np.array(2.0)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes(save, arrays, tmp_path):
    save(tmp_path / "file.npz", **arrays, fortran=np.asfortranarray(arrays["float32"]))
    file = NpzFile(tmp_path / "file.npz")
    assert set(file) == set(arrays) | {"fortran"}
    for name, array in arrays.items():
        assert file[name].shape == array.shape and file[name].nbytes == array.nbytes
        np.testing.assert_array_equal(file[name].read(), array)
    np.testing.assert_array_equal(file["fortran"].read(), arrays["float32"])
    assert file["float16"].dtype == "F16" and file["float16"].read(np.float64).dtype == np.float64
    assert file["bool"].dtype == "BOOL" and file["uint16"].dtype == "U16"


def test_what_does_not_fit_is_infinite_and_no_warning(tmp_path):
    np.savez(tmp_path / "file.npz", w=np.array([1.0, 1e300, np.nan]))
    values = NpzFile(tmp_path / "file.npz")["w"].read(np.float32)
    np.testing.assert_array_equal(values, np.array([1, np.inf, np.nan], np.float32))


def npz(**entries):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return made.getvalue()


def npy(text, data=b"", version=b"\1\0"):
    text = text.encode() + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a zip"),
        (b"PK\3\4" + bytes(50), "not a zip"),
        (npz(a=b"nothing"), "magic"),
        (
            npz(a=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", bytes(4))),
            "declares 12 bytes and has 4",
        ),
        (npz(a=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2**40,)}")), "(?i:header|shape|malformed)"),
        (npz(a=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}")), "declares 4398046511104"),
        (npz(a=npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(8))), "object"),
        (npz(a=npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", bytes(8))), "complex64"),
        (npz(a=npy("{'descr': (), 'fortran_order': False, 'shape': (1,)}", bytes(8))), "tuple index"),
        (npz(a=npy("{'descr': ('<f8', (2**40,)), 'fortran_order': False, 'shape': (1,)}", bytes(8))), ""),
        (npz(a=npy("(", bytes(8))), ""),
        (npz(a=npy("[" * 5000, bytes(8))), ""),
        (npz(a=npy("", bytes(8), b"\7\0")), "version"),
    ],
)
def test_damage_is_one_error_that_names_the_file(data, message, tmp_path):
    (tmp_path / "file.npz").write_bytes(data)
    with pytest.raises(ValueError, match=rf"file.npz is not a sound .npz file \((?s:.*){message}"):
        NpzFile(tmp_path / "file.npz")


def test_mutated_files_are_read_or_refused():
    results = fuzz("npz", 150, seed=1)["verdicts"]
    assert set(results) == {"sound", "refused"} and results["refused"] > results["sound"] > 0


def test_a_changed_byte_is_found_when_it_is_read(tmp_path):
    np.savez(tmp_path / "file.npz", a=np.zeros(100))
    data = bytearray((tmp_path / "file.npz").read_bytes())
    data[400] ^= 1
    (tmp_path / "file.npz").write_bytes(data)
    with pytest.raises(ValueError, match="CRC"):
        NpzFile(tmp_path / "file.npz")["a"].read()
