import numpy as np
import pytest

from minilora import Llama, LoraConfig, apply_lora, quantize_linears
from minilora.nn.layers import Linear
from minilora.nn.module import Module, Parameter


def test_a_gradient_is_a_copy():
    parameter = Parameter(np.zeros(3, np.float32))
    handed_in = np.ones(3, np.float32)
    parameter.accumulate(handed_in)
    handed_in[:] = 7
    np.testing.assert_array_equal(parameter.grad, np.ones(3))
    parameter.accumulate(handed_in)
    np.testing.assert_array_equal(parameter.grad, np.full(3, 8))
    assert parameter.grad is not handed_in and parameter.grad.dtype == np.float32


def test_a_gradient_that_is_given_away_is_not_copied():
    parameter = Parameter(np.zeros(3, np.float32))
    handed_in = np.ones(3, np.float32)
    parameter.accumulate(handed_in, given_away=True)
    assert parameter.grad is handed_in
    parameter.accumulate(np.ones(3), given_away=True)
    assert parameter.grad.tolist() == [2, 2, 2] and parameter.grad.dtype == np.float32


def test_state_is_the_parameters_themselves(make_model):
    model = make_model()
    state = model.state()
    assert list(state) == [path for path, _ in model.named_parameters()]
    assert all(state[path] is parameter.value for path, parameter in model.named_parameters())


def test_load_state_copies_in_place(make_model, config):
    model, other = make_model(), make_model()
    before = model.state()
    arrays = other.state()
    assert model.load_state(arrays) == ([], [])
    for path, parameter in model.named_parameters():
        assert parameter.value is before[path] and parameter.value is not arrays[path]
        np.testing.assert_array_equal(parameter.value, arrays[path])


def test_narrower_floats_widen_exactly(make_model):
    model = make_model(np.float32)
    halves = {path: array.astype(np.float16) for path, array in make_model(np.float32).state().items()}
    model.load_state(halves)
    for path, array in model.state().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, halves[path])


def test_load_state_lists_every_mismatch_and_changes_nothing(make_model):
    model = make_model(np.float32)
    before = {path: array.copy() for path, array in model.state().items()}
    arrays = {path: np.zeros_like(array) for path, array in before.items()}
    del arrays["norm.weight"]
    arrays["more"] = np.zeros(1)
    arrays["embed_tokens.weight"] = np.zeros((24, 37), np.float32)
    bad = {"q": np.zeros((24, 24)), "k": np.zeros((12, 24), np.int8), "v": np.full((12, 24), np.nan, np.float32)}
    bad["o"] = [[0.0]]
    for letter, array in bad.items():
        arrays[f"layers.1.self_attn.{letter}_proj.weight"] = array
    with pytest.raises(ValueError) as raised:
        model.load_state(arrays)
    for fault in (
        "arrays must fit this Llama, got 7 that do not",
        "norm.weight is missing",
        "more is unexpected",
        "embed_tokens.weight must have the shape (37, 24), got (24, 37)",
        "layers.1.self_attn.q_proj.weight must be of floats that fit float32 exactly, got float64",
        "layers.1.self_attn.k_proj.weight must be of floats that fit float32 exactly, got int8",
        "layers.1.self_attn.v_proj.weight must be finite, got NaN or infinity in it",
        "layers.1.self_attn.o_proj.weight must be a plain array, got [[0.0]] (list)",
    ):
        assert fault in str(raised.value)
    for path, array in model.state().items():
        np.testing.assert_array_equal(array, before[path])


def test_not_strict_reports_names_and_still_refuses_shapes(make_model):
    model = make_model()
    norm = np.full(24, 2.0)
    missing, unexpected = model.load_state({"norm.weight": norm, "more": norm}, strict=False)
    assert unexpected == ["more"] and set(missing) == set(model.state()) - {"norm.weight"}
    np.testing.assert_array_equal(model.norm.weight.value, norm)
    with pytest.raises(ValueError, match=r"norm.weight must have the shape \(24,\), got \(1,\)"):
        model.load_state({"norm.weight": np.ones(1)}, strict=False)
    with pytest.raises(TypeError, match="arrays must be a"):
        model.load_state(None)
    with pytest.raises(TypeError, match="strict must be True or False"):
        model.load_state({}, strict="no")


def test_children_are_attributes_and_lists_and_nothing_else(rng):
    module = Module()
    for name, make in (
        ("plain", lambda x: x),
        ("list", lambda x: [x]),
        ("dict", lambda x: {"a": x}),
        ("tuple", lambda x: (x,)),
    ):
        setattr(module, name, make(Linear(2, 3, rng=rng)))
    assert list(module.state()) == ["plain.weight", "list.0.weight"]


def test_replacing_by_path(make_model, rng):
    model = make_model()
    new = Linear(24, 24, rng=rng, dtype=np.float64)
    model.set_submodule("layers.1.self_attn.q_proj", new)
    assert model.get_submodule("layers.1.self_attn.q_proj") is new and model.get_submodule("") is model
    model.set_submodule("layers.0", model.layers[1])
    assert model.layers[0] is model.layers[1]
    with pytest.raises(ValueError, match="path must lead to a layer below this one, got ''"):
        model.set_submodule("", new)
    with pytest.raises(ValueError, match="no layer 'layers.7' here; there are: embed_tokens, layers.0, layers.1, norm"):
        model.set_submodule("layers.7", new)
    with pytest.raises(ValueError, match="no layer"):
        model.set_submodule("norm.weight", new)
    with pytest.raises(TypeError, match="module must be a Module"):
        model.set_submodule("norm", None)


def test_print_says_what_a_model_is(make_model, rng):
    model = make_model(np.float32)
    total = sum(p.size for p in model.parameters())
    lines = repr(model).splitlines()
    assert lines[0] == f"Llama({model.config})"
    assert lines[-1] == f"{total:,} parameters: {total:,} trainable, 0 frozen; dtype float32"
    assert "  layers.0-1: 2 x Block" in lines
    assert "      q_proj: Linear(weight (24, 24) float32 trainable)" in lines
    quantize_linears(model, "nf4", double_quant=True)
    apply_lora(model, LoraConfig(r=2, target_modules=("layers.0.self_attn.q_proj",)), rng=rng)
    lines = repr(model).splitlines()
    assert "  layers.0: Block" in lines and "  layers.1: Block" in lines  # no longer equal
    q = model.layers[1].self_attn.q_proj.q
    assert (
        f"      q_proj: QuantizedLinear(weight (24, 24) in nf4, blocks of 64, double quantized, {q.nbytes} bytes)"
        in lines
    )
    assert "96 trainable" in lines[-1]
    assert repr(Linear(2, 3, rng=rng)).splitlines()[0] == "Linear(weight (3, 2) float32 trainable)"
    assert isinstance(model, Llama)
