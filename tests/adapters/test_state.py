import tracemalloc

import numpy as np
import pytest

from minilora import (
    BottleneckConfig,
    LoraConfig,
    PrefixConfig,
    PromptConfig,
    apply_lora,
    delete_adapter,
    load_adapter,
    merge_lora,
    quantize_linears,
    save_adapter,
    scale_adapter,
    set_adapter,
    storage,
    unmerge_lora,
)
from minilora.adapters import (
    FullConfig,
    PartialConfig,
    active_adapter,
    adapter_layers,
    adapter_names,
    adapter_state,
    base_fingerprint,
    get_adapter,
    lora_layers,
    read_adapter,
)
from minilora.adapters.methods import method_of

CONFIG = LoraConfig(r=3, lora_alpha=2, target_modules=("q_proj", "down_proj"), rank_pattern={"down_proj": 5})


@pytest.fixture
def saved(model, rng, fill_B, tmp_path):
    apply_lora(model, CONFIG, rng=rng)
    fill_B(model)
    save_adapter(model, tmp_path / "adapter.npz")
    return tmp_path / "adapter.npz"


def changed(path, target, **metadata):
    """The same file with other metadata (or, by `arrays`, other arrays)."""
    arrays, note = storage.load_arrays(path)
    replaced = metadata.pop("arrays", lambda a: a)(arrays)
    storage.save_arrays(target, replaced, note | metadata)
    return target


def test_an_adapter_owns_its_config(model, saved, ids):
    """Before: save_adapter wrote whatever config it was given (alpha 2 at work, 64 on disk)."""
    assert get_adapter(model).config is CONFIG
    assert read_adapter(saved).config == CONFIG
    before, _ = model(ids)
    assert load_adapter(model, saved, "again") == CONFIG
    assert active_adapter(model) == "again"
    np.testing.assert_array_equal(model(ids)[0], before)
    assert {name: part.tobytes() for name, part in adapter_state(model, "again").items()} == {
        name: part.tobytes() for name, part in adapter_state(model).items()
    }
    assert all(
        layer.adapters["again"].scaling == layer.adapters["default"].scaling for layer in lora_layers(model).values()
    )


def test_numbers_of_numpy_can_be_saved(make_model, rng, tmp_path):
    model = make_model()
    config = LoraConfig(r=np.int64(2), lora_alpha=np.float32(3), rank_pattern={"q_proj": np.int8(4)})
    apply_lora(model, config, rng=rng)
    save_adapter(model, tmp_path / "adapter.npz")
    assert type(config.r) is int
    assert load_adapter(model, tmp_path / "adapter.npz", "again") == config


def test_scale_and_notes_are_kept(model, saved, ids, tmp_path):
    scale_adapter(model, "default", 0.5)
    before, _ = model(ids)
    save_adapter(model, tmp_path / "half.npz", notes={"steps": 300, "loss": 0.05})
    assert read_adapter(tmp_path / "half.npz").notes == {"steps": 300, "loss": 0.05}
    load_adapter(model, tmp_path / "half.npz", "half")
    np.testing.assert_array_equal(model(ids)[0], before)
    set_adapter(model, "default")
    np.testing.assert_array_equal(model(ids)[0], before)


def test_the_same_adapter_gives_the_same_bytes(model, saved, tmp_path):
    save_adapter(model, tmp_path / "again.npz")
    assert saved.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_the_fingerprint_is_the_base(model, saved, rng, fill_B, step, ids):
    digest = base_fingerprint(model)
    assert len(digest) == 64
    apply_lora(model, LoraConfig(r=2, target_modules="all-linear"), rng=rng, adapter_name="second")
    assert base_fingerprint(model) == digest
    step(model, ids)
    assert base_fingerprint(model) == digest
    set_adapter(model, "default")
    merge_lora(model)
    assert base_fingerprint(model) == digest
    unmerge_lora(model)
    delete_adapter(model, "default")
    delete_adapter(model, "second")
    assert base_fingerprint(model) == digest
    model.norm.weight.value[0] += 1e-3
    assert base_fingerprint(model) != digest


def test_every_array_code_and_dtype_is_in_the_fingerprint(make_model):
    def fresh(dtype=np.float32, **changes):
        model = make_model(dtype, **changes)
        fill = np.random.default_rng(3)
        for p in model.parameters():
            p.value[...] = fill.standard_normal(p.shape).astype(np.float32)
        return model

    digests = {base_fingerprint(fresh()), base_fingerprint(fresh(np.float64))}
    for settings in (
        {},
        {"code": "fp4"},
        {"block_size": 32},
        {"double_quant": True},
        {"code": "int4_affine"},
        {"target_modules": ("q_proj",)},
    ):
        model = fresh()
        quantize_linears(model, **settings)
        digests.add(base_fingerprint(model))
    assert len(digests) == 8
    model = fresh()
    digest = base_fingerprint(model)
    assert digest == base_fingerprint(fresh())
    for _, parameter in model.named_parameters():
        parameter.value.reshape(-1)[-1] *= 1.5
        assert base_fingerprint(model) != digest
        parameter.value.reshape(-1)[-1] /= 1.5
    model = fresh()
    quantize_linears(model, double_quant=True)
    digest = base_fingerprint(model)
    q = model.get_submodule("layers.1.mlp.up_proj").q
    for array in (q.packed, q.absmax.codes, q.absmax.absmax):
        kept = array[-1]
        array[-1] = kept + 1
        assert base_fingerprint(model) != digest
        array[-1] = kept
    assert base_fingerprint(model) == digest


def test_another_base_is_refused_unless_forced(make_model, twin, rng, fill_B, ids, tmp_path):
    model = make_model()
    dense, other = twin(model), make_model()
    quantize_linears(model)
    apply_lora(model, CONFIG, rng=rng)
    fill_B(model)
    save_adapter(model, tmp_path / "adapter.npz")
    for base in (dense, other):
        with pytest.raises(ValueError, match="trained on the base .* force=True"):
            load_adapter(base, tmp_path / "adapter.npz")
        assert not adapter_layers(base)
    assert load_adapter(dense, tmp_path / "adapter.npz", force=True) == CONFIG
    for key, array in adapter_state(dense).items():
        np.testing.assert_array_equal(array, adapter_state(model)[key])
    single = make_model(np.float32)
    load_adapter(single, tmp_path / "adapter.npz", force=True)
    assert {a.dtype for a in adapter_state(single).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": 500.0},
        {"rms_norm_eps": 1e-6},
        {"num_attention_heads": 2, "num_key_value_heads": 1},
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    ],
)
def test_the_same_arrays_under_another_config_are_another_base(make_model, twin, rng, tmp_path, changes):
    model = make_model()
    same, other = twin(model), twin(model, **changes)
    apply_lora(model, CONFIG, rng=rng)
    save_adapter(model, tmp_path / "adapter.npz")
    with pytest.raises(ValueError, match="trained on the base .* config"):
        load_adapter(other, tmp_path / "adapter.npz")
    assert not adapter_layers(other)
    load_adapter(same, tmp_path / "adapter.npz")


def test_a_load_that_does_not_fit_lists_everything_and_changes_nothing(
    make_model, model, saved, rng, fill_B, ids, tmp_path
):
    apply_lora(model, LoraConfig(r=2, target_modules=("q_proj",)), rng=rng, adapter_name="other")
    fill_B(model)
    before, random = model(ids)[0], rng.bit_generator.state
    tree = dict(model.named_modules())

    def wrong(arrays):
        arrays["layers.0.self_attn.q_proj.lora_A"] = np.zeros((4, 24))
        arrays["layers.1.self_attn.q_proj.lora_A"] = np.zeros((3, 24), np.float32)
        del arrays["layers.0.mlp.down_proj.lora_B"]
        arrays["extra"] = np.zeros(1)
        return arrays

    path = tmp_path / "wrong.npz"
    with pytest.raises(ValueError) as error:
        load_adapter(model, changed(saved, path, arrays=wrong, base_fingerprint="0" * 64), "new")
    for part in ("0.self_attn.q_proj.lora_A", "0.mlp.down_proj.lora_B", "extra", "base 000000000000", "does not fit"):
        assert part in str(error.value)
    assert adapter_names(model) == ["default", "other"]
    assert active_adapter(model) == "other"
    assert dict(model.named_modules()) == tree
    assert rng.bit_generator.state == random
    np.testing.assert_array_equal(model(ids)[0], before)
    with pytest.raises(ValueError, match="does not fit this model.*lora_A must have the shape"):
        load_adapter(make_model(hidden_size=32), saved, force=True)
    with pytest.raises(ValueError, match="adapter_name must be new"):
        load_adapter(model, saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"r": "8"}}, "r must be an int"),
        ({"config": {"lora_alpha": -1}}, "lora_alpha must be greater than 0"),
        ({"config": {"lora_alpha": None}}, "lora_alpha must be a number"),
        ({"config": {"surprise": 1}}, "surprise"),
        ({"method": "magic"}, "method must be one of.*magic"),
        ({"method": 3}, "method must be one of"),
        ({"factor": "1.0"}, "factor must be a number"),
        ({"base_fingerprint": 12}, "base_fingerprint must be a str"),
        ({"notes": []}, "notes must be"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_metadata_is_checked_by_type_and_range(model, saved, tmp_path, change, message):
    _, note = storage.load_arrays(saved)
    if "config" in change:
        change = {"config": note["config"] | change["config"]}
    path = changed(saved, tmp_path / "changed.npz", **change)
    for load in (read_adapter, lambda p: load_adapter(model, p, "new")):
        with pytest.raises(ValueError, match=message) as error:
            load(path)
        assert str(path) in str(error.value)
    assert adapter_names(model) == ["default"]


def test_a_factor_belongs_to_what_has_a_strength(model, saved, tmp_path):
    path = changed(saved, tmp_path / "changed.npz", factor=None)
    with pytest.raises(ValueError, match="its factor must be a number, got None"):
        load_adapter(model, path, "new")
    assert adapter_names(model) == ["default"]


def test_missing_metadata_is_an_error(model, saved, tmp_path):
    arrays, note = storage.load_arrays(saved)
    for lacking in note:
        storage.save_arrays(tmp_path / "lacking.npz", arrays, {k: v for k, v in note.items() if k != lacking})
        with pytest.raises(ValueError, match="lacking.npz"):
            read_adapter(tmp_path / "lacking.npz")
    config = {k: v for k, v in note["config"].items() if k != "lora_alpha"}
    storage.save_arrays(tmp_path / "lacking.npz", arrays, note | {"config": config})
    with pytest.raises(ValueError, match="lora_alpha"):
        read_adapter(tmp_path / "lacking.npz")


def test_saving_says_what_is_wrong(model, saved, tmp_path):
    with pytest.raises(ValueError, match="adapter_name must be one of 'default', got 'other'"):
        save_adapter(model, tmp_path / "other.npz", "other")
    with pytest.raises(TypeError, match="notes must be"):
        save_adapter(model, tmp_path / "other.npz", notes=["a"])
    merge_lora(model)
    with pytest.raises(ValueError, match="must not be merged"):
        save_adapter(model, tmp_path / "other.npz")
    with pytest.raises(ValueError, match="must not be merged"):
        load_adapter(model, saved, "other")
    assert not (tmp_path / "other.npz").exists()


@pytest.mark.parametrize(
    ("config", "huge"),
    [
        (LoraConfig(r=2), {"r": 2**40}),
        (BottleneckConfig(), {"bottleneck_size": 2**40}),
        (PrefixConfig(prefix_projection=True, encoder_hidden_size=4), {"encoder_hidden_size": 2**40}),
        (PromptConfig(), {"num_virtual_tokens": 2**40}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_forged_size_asks_for_no_memory(make_model, rng, tmp_path, config, huge):
    path, model = tmp_path / "a.npz", make_model()
    method_of(config).apply(model, config, rng=rng)
    save_adapter(model, path)
    changed(path, path, config=storage.load_arrays(path)[1]["config"] | huge)
    delete_adapter(model, "default")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="a.npz does not fit this model"):
            load_adapter(model, path)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("config", "more"),
    [
        (PartialConfig(last_blocks=0, norms=True), {"last_blocks": 1}),
        (FullConfig(target_modules=("q_proj",)), {"target_modules": None}),
        (LoraConfig(r=2), {"modules_to_save": ["embed_tokens"]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_weights_that_the_file_does_not_hold_are_not_copied_from_the_model(make_model, rng, tmp_path, config, more):
    path, model = tmp_path / "a.npz", make_model(vocab_size=20_000, intermediate_size=20_000)
    method_of(config).apply(model, config, rng=rng)
    save_adapter(model, path)
    changed(path, path, config=storage.load_arrays(path)[1]["config"] | more)
    delete_adapter(model, "default")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="a.npz does not fit this model: .* is missing"):
            load_adapter(model, path)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def test_a_narrower_dtype_in_the_file_is_refused_unless_forced(model, saved, tmp_path):
    """float16 would widen exactly, but save_adapter does not write it over a model of another dtype."""
    name = "layers.0.self_attn.q_proj.lora_A"
    path = changed(saved, tmp_path / "a.npz", arrays=lambda arrays: arrays | {name: arrays[name].astype(np.float16)})
    with pytest.raises(ValueError, match=f"{name} must be float64, got float16"):
        load_adapter(model, path, "new")
    load_adapter(model, path, "new", force=True)
    whole = changed(saved, tmp_path / "b.npz", arrays=lambda arrays: arrays | {name: np.ones((3, 24), np.int8)})
    with pytest.raises(ValueError, match=f"{name} must be of floats"):
        load_adapter(model, whole, "newer", force=True)
