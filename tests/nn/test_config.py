from dataclasses import asdict

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
