from functools import partial

import numpy as np
import pytest
from hostile import DATA, GGUF, PAIRS, TENSORS, fuzz, open_gguf, pair, verdict
from hostile import gguf as build

from minilora.interop.gguf import GGUFFile


@pytest.mark.parametrize(("data", "sound", "with_data"), GGUF.values(), ids=GGUF.keys())
def test_hostile_files_have_the_verdict_of_llama_cpps_tests_and_source_within_twice_their_memory(
    data, sound, with_data, tmp_path
):
    """The verdicts in the table are llama.cpp's as its tests and source say them; no llama.cpp is run."""
    result, peak, _ = verdict(partial(open_gguf, data=with_data), data, tmp_path)
    assert result == ("sound" if sound else "refused")
    assert peak < 2 * len(data) + 2**16


def test_mutated_files_are_read_or_refused():
    results = fuzz("gguf", 150, seed=1)["verdicts"]
    assert set(results) == {"sound", "refused"} and results["refused"] > results["sound"] > 0


def test_a_key_as_long_as_the_file_is_told_by_its_start(tmp_path):
    data = build([pair(b"\xff" * 2**17, 13, bytes(4))])
    result, peak, _ = verdict(open_gguf, data, tmp_path)
    assert result == "refused" and peak < 6 * len(data)
    with pytest.raises(ValueError, match=r"\\udcff'\.\.\. has the unknown type 13") as caught:
        GGUFFile(tmp_path / "hostile.bin")
    assert len(str(caught.value)) < 1000


def test_keys_and_tensors(tmp_path):
    path = tmp_path / "file.gguf"
    path.write_bytes(build(PAIRS, TENSORS, np.arange(6, dtype="<f4").tobytes() + DATA[24:]))
    file = GGUFFile(path)
    assert file.metadata["a.string"] == "text" and file.metadata["a.number"] == 7
    assert file.metadata["strings"] == ["x", ""] and len(file.metadata) == 5
    assert file.metadata["numbers"].tolist() == [1, -2, 3] and file.metadata["bools"].tolist() == [False, True]
    assert list(file) == ["one", "two"]
    np.testing.assert_array_equal(file["one"].read(), [[0, 1, 2], [3, 4, 5]])
    assert (file["two"].shape, file["two"].dtype, file["two"].nbytes) == ((2, 32), "Q4_0", 36)
    np.testing.assert_array_equal(file["two"].read(), np.zeros((2, 32)))


def test_the_librarys_reader_and_writer_agree(tmp_path, rng):
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "file.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("text", "äöü")
    writer.add_float64("pi", 3.14159)
    writer.add_array("words", ["a", "bc", ""])
    writer.add_array("numbers", [1, 2, 3])
    writer.add_bool("yes", True)
    tensors = {"w": rng.standard_normal((4, 64)).astype(np.float32), "v": np.arange(5, dtype=np.float16)}
    for name, array in tensors.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GGUFFile(path)
    assert (file.metadata["text"], file.metadata["pi"], file.metadata["yes"]) == ("äöü", 3.14159, True)
    assert file.metadata["words"] == ["a", "bc", ""] and file.metadata["numbers"].tolist() == [1, 2, 3]
    theirs = gguf.GGUFReader(path)
    assert set(file) == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        np.testing.assert_array_equal(file[tensor.name].read(), tensors[tensor.name])
        np.testing.assert_array_equal(file[tensor.name].read(), tensor.data)


def test_a_type_without_a_decoder_is_named_when_it_is_read(tmp_path):
    from hostile import tensor

    path = tmp_path / "file.gguf"
    path.write_bytes(build(PAIRS, [tensor("w", (256,), 16, 0)], DATA))
    assert GGUFFile(path)["w"].shape == (256,)
    with pytest.raises(ValueError, match="w is stored as IQ2_XXS, which is not supported"):
        GGUFFile(path)["w"].read()
