import numpy as np
import pytest

from minilora import LoraConfig, apply_lora, merge_lora, quantize_linears, storage
from minilora.nn.files import load_model, save_model

IDS = np.array([[1, 2, 3]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_comes_back_bit_for_bit(make_model, tmp_path, dtype, tied):
    model = make_model(dtype=dtype, tie_word_embeddings=tied)
    save_model(model, tmp_path / "m.npz", {"from": "a test"})
    again, notes = load_model(tmp_path / "m.npz")
    assert notes == {"from": "a test"} and again.config == model.config and again.dtype == dtype
    np.testing.assert_array_equal(again(IDS)[0], model(IDS)[0])


def test_float32_may_be_read_wider_and_not_narrower(make_model, tmp_path):
    save_model(make_model(dtype=np.float32), tmp_path / "m.npz")
    assert load_model(tmp_path / "m.npz", np.float64)[0].dtype == np.float64
    save_model(make_model(dtype=np.float64), tmp_path / "m.npz")
    with pytest.raises(ValueError, match="m.npz is not a model that save_model wrote.*float32 exactly, got float64"):
        load_model(tmp_path / "m.npz", np.float32)


def test_four_bits_are_stored_decoded_and_adapters_must_be_merged(make_model, tmp_path, rng):
    model = make_model(dtype=np.float32)
    quantize_linears(model, "nf4")
    apply_lora(model, LoraConfig(r=2), rng=rng)
    with pytest.raises(ValueError, match="model must be a plain Llama.*merge_lora"):
        save_model(model, tmp_path / "m.npz")
    for layer in model.layers:
        layer.self_attn.q_proj.lora_B.value[:] = 0.1
    merge_lora(model)
    save_model(model, tmp_path / "m.npz")
    again, _ = load_model(tmp_path / "m.npz")
    np.testing.assert_allclose(again(IDS)[0], model(IDS)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda a, m: a.pop("norm.weight"), "norm.weight is missing"),
        (lambda a, m: a.update(extra=np.ones(2, np.float32)), "extra is unexpected"),
        (lambda a, m: m["config"].update(num_hidden_layers=10**6), "too few for 1000000 layers"),
        (lambda a, m: m["config"].update(hidden_size=2**30), "values are too few for hidden_size=1073741824"),
        (lambda a, m: m["config"].update(hidden_size="24"), "hidden_size"),
        (lambda a, m: m.pop("config"), "config is missing"),
        (lambda a, m: a.update({"norm.weight": a["norm.weight"].astype(np.float16)}), "all be float32 or all float64"),
    ],
)
def test_a_damaged_file_is_named(make_model, tmp_path, damage, named):
    save_model(make_model(dtype=np.float32), tmp_path / "m.npz")
    arrays, metadata = storage.load_arrays(tmp_path / "m.npz")
    damage(arrays, metadata)
    storage.save_arrays(tmp_path / "m.npz", arrays, metadata)
    with pytest.raises(ValueError, match=f"m.npz.*{named}"):
        load_model(tmp_path / "m.npz")
