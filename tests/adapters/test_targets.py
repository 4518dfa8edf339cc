import pytest

from minilora import LoraConfig, apply_lora
from minilora.adapters import linear_paths, match_targets
from minilora.adapters.targets import ends_in, pattern_value
from minilora.nn import Linear, Module

TARGETS = {
    "suffix": (("q_proj",), 2),
    "longer suffix": (("self_attn.q_proj", "mlp.up_proj"), 4),
    "whole path": (("layers.1.mlp.gate_proj",), 1),
    "a list": (["q_proj"], 2),
    "regular expression": (r"layers\.0\..*_proj", 7),
    "expression for one": (r"layers\.\d+\.self_attn\.q_proj", 2),
    "all-linear": ("all-linear", 14),
}


@pytest.mark.parametrize(("targets", "count"), TARGETS.values(), ids=TARGETS.keys())
def test_targets(rng, make_model, targets, count):
    paths = apply_lora(make_model(tie_word_embeddings=False), LoraConfig(r=2, target_modules=targets), rng=rng)
    assert len(paths) == count
    assert "lm_head" not in paths


@pytest.mark.parametrize(
    "targets",
    [
        ("proj",),  # an end of the name is not the name
        ("q_proj", "query"),  # one of two is unknown
        r"layers\.0\.self_attn",  # a prefix: the whole path must match
        r"layers\.0\.self_attn\.q",
        "q_proj",  # a str is an expression for the whole path, as in PEFT
        "",
        (),
        ("",),
    ],
)
def test_what_matches_nothing_is_refused_with_the_paths(make_model, targets):
    with pytest.raises(ValueError, match="layers.0.self_attn.q_proj, .*layers.1.mlp.down_proj"):
        match_targets(make_model(), targets)


def test_a_set_is_refused():
    with pytest.raises(TypeError, match="target_modules"):
        LoraConfig(target_modules={"q_proj", "v_proj"})  # its order, and so the draws, would differ from run to run


def test_names_end_at_a_dot():
    assert ends_in("layers.0.self_attn.q_proj", "q_proj")
    assert ends_in("q_proj", "q_proj")
    assert not ends_in("layers.0.self_attn.q_proj", "proj")
    assert pattern_value({"proj": 3, "self_attn.q_proj": 5, "q_proj": 7}, "layers.0.self_attn.q_proj", 1) == 5
    assert pattern_value({"up_proj": 3}, "layers.0.self_attn.base_layer.q_proj", 1) == 1


def test_any_module_will_do(rng):
    class Two(Module):
        def __init__(self):
            self.first, self.second = Linear(4, 3, rng=rng), Linear(3, 2, rng=rng)

    model = Two()
    assert list(linear_paths(model)) == ["first", "second"]
    assert apply_lora(model, LoraConfig(r=2, target_modules=("second",)), rng=rng) == ["second"]
    assert not model.first.weight.trainable
    with pytest.raises(TypeError, match="model must be a Module"):
        match_targets({"first": 1}, "all-linear")
    with pytest.raises(ValueError, match="there are: none"):
        match_targets(Module(), "all-linear")
