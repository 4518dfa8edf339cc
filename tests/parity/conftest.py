"""One model twice: ours, and transformers' with the same weights."""

import numpy as np
import pytest

from minilora import Llama, LlamaConfig


@pytest.fixture
def twins():
    """twins(seed, dtype, **config changes) -> (ours, theirs, our Parameters by their names)."""
    return make_twins


def make_twins(seed, dtype, **changes):
    import torch
    import transformers

    sizes = {"vocab_size": 61, "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2}
    config = LlamaConfig(**(sizes | {"max_position_embeddings": 64, "initializer_range": 0.1} | changes))
    ours = Llama(config, rng=np.random.default_rng(seed), dtype=dtype)
    names = [n for n in LlamaConfig.__dataclass_fields__ if not n.startswith("rope_")]
    settings = {name: getattr(config, name) for name in names}
    rope = {"rope_type": "default", "rope_theta": config.rope_theta} | dict(config.rope_scaling or {})
    settings["rope_parameters"] = rope
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**settings, attn_implementation="eager", use_cache=False)
    ).to(torch.float64 if dtype == np.float64 else torch.float32)
    weights = {(n if n.startswith("lm_head") else f"model.{n}"): p for n, p in ours.named_parameters()}
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.copy_(torch.tensor(weights[name].value))
    return ours, theirs, weights
