import tracemalloc
from dataclasses import asdict

import numpy as np
import pytest

from minilora import Llama, LoraConfig, apply_lora, load_base, storage
from minilora.adapters import linear_paths
from minilora.assets import base_provenance, base_sha256, base_weights
from minilora.assets.base import BASE_PATH, save_base
from minilora.data import ByteTokenizer


def test_the_base_is_small_and_says_where_it_came_from():
    assert BASE_PATH.stat().st_size < 3_000_000
    assert 0.9e6 < sum(p.size for p in load_base().parameters()) < 1.1e6
    note = base_provenance()
    assert len(base_sha256()) == len(note["corpus"]["sha256"]) == 64
    assert note["curve"]["eval"][-1][1] < 1.2 < note["curve"]["eval"][0][1]


def test_the_base_has_learned_english():
    model, tokenizer = load_base(), ByteTokenizer()

    def loss(text):
        ids = tokenizer.encode(text)[None]
        return model.loss(ids[:, :-1], ids[:, 1:], inference=True)[0]

    text = "The value of the expression is a list of the names of the class."
    shuffled = "".join(np.random.default_rng(0).permutation(list(text)))
    assert loss(text) < 2 < loss(shuffled)


def test_both_dtypes_hold_the_same_weights():
    for one, two in zip(load_base().parameters(), load_base(np.float64).parameters(), strict=True):
        assert (one.value.dtype, two.value.dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal(one.value, two.value)


def test_the_shipped_file_is_what_save_base_writes(tmp_path):
    save_base(load_base(), base_provenance(), tmp_path / "base.npz")
    ours, shipped = (storage.load_arrays(path) for path in (tmp_path / "base.npz", BASE_PATH))
    assert list(ours[0]) == list(shipped[0])
    for name in ours[0]:
        np.testing.assert_array_equal(ours[0][name], shipped[0][name], strict=True)
    assert ours[1] | {"config": None} == shipped[1] | {"config": None}


def test_a_saved_base_comes_back(make_model, tmp_path):
    model = make_model(np.float32, tie_word_embeddings=False)
    save_base(model, {"note": "x"}, tmp_path / "b.npz")
    back = load_base(np.float64, path=tmp_path / "b.npz")
    assert back.config == model.config
    for name, value in model.state().items():
        np.testing.assert_array_equal(back.state()[name], value.astype(np.float16))
    token_ids = np.array([[1, 2, 3]])
    labels = np.array([[2, 3, 4]])
    back.loss(token_ids, labels)[1]()  # it trains
    assert all(p.trainable and p.grad is not None for p in back.parameters())


WEIGHT = "layers.1.mlp.up_proj.weight"
BAD = {
    "a scalar": (
        lambda a: a | {WEIGHT: np.array(0, np.float16)},
        {},
        r"up_proj.weight must have the shape \(40, 24\), got \(\)",
    ),
    "empty": (lambda a: a | {WEIGHT: a[WEIGHT][:0]}, {}, r"must have the shape \(40, 24\), got \(0, 24\)"),
    "missing": (lambda a: {n: a[n] for n in a if n != WEIGHT}, {}, f"{WEIGHT} is missing"),
    "unexpected": (lambda a: a | {"more": a[WEIGHT]}, {}, "more is unexpected"),
    "float32": (lambda a: a | {WEIGHT: a[WEIGHT].astype(np.float32)}, {}, f"must be float16, but {WEIGHT} is float32"),
    "integers": (lambda a: a | {WEIGHT: a[WEIGHT].astype(np.int8)}, {}, f"must be float16, but {WEIGHT} is int8"),
    "no embedding": (lambda a: {n: a[n] for n in a if n != "embed_tokens.weight"}, {}, "embed_tokens.weight must have"),
    "no layers": (lambda a: {n: a[n] for n in a if not n.startswith("layers")}, {}, "num_hidden_layers 2, but its 2"),
    "many layers": (dict, {"num_hidden_layers": 2**31 - 1}, "num_hidden_layers 2147483647, but its 20 arrays do not"),
    "wide": (dict, {"hidden_size": 2**30}, r"must have the shape \(37, 1073741824\) of its config, got \(37, 24\)"),
    "wide inside": (dict, {"intermediate_size": 2**30}, "must have the shape"),
    "other heads": (dict, {"head_dim": 8}, "must have the shape"),
    "text": (dict, {"hidden_size": "24"}, "hidden_size must be an int, got '24'"),
    "negative": (dict, {"num_hidden_layers": -1}, "num_hidden_layers must be between 1"),
    "null": (dict, {"rope_theta": None}, "rope_theta must be a number, got None"),
    "unknown": (dict, {"more": 1}, "config.'more' is not a field of it"),
}


@pytest.mark.parametrize("arrays, fields, fault", BAD.values(), ids=BAD.keys())
def test_a_base_that_does_not_fit_its_config_is_refused_before_it_is_built(make_model, tmp_path, arrays, fields, fault):
    model, path = make_model(np.float32), tmp_path / "b.npz"
    halves = {name: value.astype(np.float16) for name, value in model.state().items()}
    storage.save_arrays(path, arrays(halves), {"config": asdict(model.config) | fields})
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"b.npz .*{fault}"):
            load_base(path=path)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def test_metadata_without_a_config_is_refused(make_model, tmp_path):
    halves = {name: value.astype(np.float16) for name, value in make_model(np.float32).state().items()}
    for metadata, fault in (({}, "config is missing"), ({"config": None}, "config must be a dict")):
        storage.save_arrays(tmp_path / "b.npz", halves, metadata)
        with pytest.raises(ValueError, match=f"b.npz has metadata that cannot be used: {fault}"):
            load_base(path=tmp_path / "b.npz")
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got None"):
        load_base(None)
    with pytest.raises(FileNotFoundError, match="nothing.npz does not exist"):
        load_base(path=tmp_path / "nothing.npz")


def test_what_half_precision_cannot_hold_is_not_saved(make_model, tmp_path, rng):
    path, model = tmp_path / "b.npz", make_model(np.float32)
    save_base(model, {}, path)
    before = path.read_bytes()
    model.norm.weight.value[0] = 1e5
    with pytest.raises(ValueError, match="norm.weight must fit float16, whose largest value is 65504, got 100000"):
        save_base(model, {}, path)
    model.norm.weight.value[0] = np.nan
    with pytest.raises(ValueError, match="norm.weight must be finite"):
        save_base(model, {}, path)
    model.norm.weight.value[0] = 1
    apply_lora(model, LoraConfig(r=2), rng=rng)
    with pytest.raises(ValueError, match="model must be a plain Llama.*lora_A is unexpected.*merge adapters first"):
        save_base(model, {}, path)
    with pytest.raises(TypeError, match="model must be a Llama"):
        save_base(None, {}, path)
    assert path.read_bytes() == before
    assert isinstance(load_base(path=path), Llama)


def test_base_weights_are_those_of_the_linear_layers():
    layers = linear_paths(load_base())
    weights = base_weights()
    assert weights.keys() == layers.keys()
    assert all(np.array_equal(w, layers[path].dense_weight()) for path, w in weights.items())
