from dataclasses import asdict

import numpy as np
import pytest

from minilora import LlamaConfig

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def test_rope_scaling_is_kept_under_hugging_faces_names():
    assert LlamaConfig().rope_scaling is None
    assert LlamaConfig(rope_scaling={"rope_type": "default"}).rope_scaling is None
    config = LlamaConfig(rope_scaling={"type": "linear", "factor": 2})
    assert config.rope_scaling == {"rope_type": "linear", "factor": 2.0}
    assert LlamaConfig(**asdict(config)) == config and hash(LlamaConfig(**asdict(config))) == hash(config)
    assert LlamaConfig(rope_scaling=LLAMA3).rope_scaling == LLAMA3


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"rope_type": "yarn", "factor": 2.0}, "linear or llama3, got 'yarn'"),
        ({"factor": 2.0}, "got None"),
        ({"rope_type": "linear"}, "must have factor; got none"),
        ({"rope_type": "linear", "factor": 2.0, "beta": 1}, "got factor, beta"),
        ({"rope_type": "linear", "factor": -1.0}, "greater than 0, got -1.0"),
        (LLAMA3 | {"high_freq_factor": 1.0}, "greater than low_freq_factor 1.0"),
    ],
)
def test_a_rope_scaling_that_is_not_known_is_named(scaling, message):
    with pytest.raises(ValueError, match=message):
        LlamaConfig(rope_scaling=scaling)
    with pytest.raises(TypeError, match="rope_scaling must be a dict"):
        LlamaConfig(rope_scaling="linear")


SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)


@pytest.mark.parametrize("name", [*SIZES, "max_position_embeddings", "head_dim"])
def test_every_size_has_bounds(name):
    for size in (0, 2**31):
        with pytest.raises(ValueError, match=f"^{name} must be between \\d and 2147483647, got {size}"):
            LlamaConfig(**{name: size})
    with pytest.raises(TypeError, match=f"^{name} must be an int"):
        LlamaConfig(**{name: 4.0})


def test_what_it_keeps_are_pythons_own_numbers():
    config = LlamaConfig(
        hidden_size=np.int64(64), head_dim=np.int8(8), rope_theta=np.float32(100), rms_norm_eps=np.float64(1e-6)
    )
    assert {type(value) for value in asdict(config).values()} == {int, float, bool, type(None)}
    with pytest.raises(ValueError, match="^head_dim must be even, got 3"):
        LlamaConfig(head_dim=3)
