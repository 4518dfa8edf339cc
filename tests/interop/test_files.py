import numpy as np
import pytest

from minilora.interop.files import open_tensors


def test_the_ending_decides(tmp_path, make_model, rng):
    pytest.importorskip("safetensors")
    from hostile import sound_gguf

    from minilora.interop import save_llama
    from minilora.interop.safetensors import save_safetensors

    w = rng.standard_normal((2, 3))
    np.savez(tmp_path / "a.npz", w=w)
    save_safetensors(tmp_path / "a.safetensors", {"w": w})
    for name in ("a.npz", "a.safetensors"):
        np.testing.assert_array_equal(open_tensors(tmp_path / name)["w"].read(), w)
    (tmp_path / "a.GGUF").write_bytes(sound_gguf())
    assert list(open_tensors(tmp_path / "a.GGUF")) == ["one", "two"]
    save_llama(make_model(), tmp_path / "folder", max_shard_size=20000)
    assert "model.norm.weight" in open_tensors(tmp_path / "folder")
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="end in .safetensors, .gguf, .npz"):
        open_tensors(tmp_path / "a.bin")
    with pytest.raises(FileNotFoundError):
        open_tensors(tmp_path / "b.npz")
