"""Sampling with a KV cache: each step runs the new token alone and finds the past in the cache."""

import numpy as np

from minilora import checks
from minilora.nn.llama import Llama
from minilora.nn.past import KVCache
from minilora.nn.sampling import sample


def generate(
    model: Llama,
    token_ids: np.ndarray,
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    rng: np.random.Generator | None = None,
    eos_token_id: int | None = None,
    use_cache: bool = True,
) -> np.ndarray:
    """Continue each row of `token_ids` (B, T) by up to `max_new_tokens`; returns (B, T + new).

    `temperature` 0 is greedy; above 0 it samples and needs `rng`, from the `top_k` likeliest tokens and from the
    smallest set whose probability reaches `top_p` (nucleus sampling, Holtzman et al. 2019), where given.
    A row that has produced `eos_token_id` is filled up with it; all rows done ends the run.
    Raises ValueError or TypeError for arguments out of range and texts that outgrow max_position_embeddings.
    """
    checks.integer("max_new_tokens", max_new_tokens, low=1)
    checks.real("temperature", temperature, low=0)
    if top_k is not None:
        checks.integer("top_k", top_k, low=1)
    if top_p is not None:
        checks.real("top_p", top_p, above=0, high=1)
    if eos_token_id is not None:
        checks.integer("eos_token_id", eos_token_id, low=0, high=model.config.vocab_size - 1)
    if temperature > 0:
        checks.generator("rng", rng)
    elif top_k is not None or top_p is not None:
        raise ValueError(f"top_k and top_p need a temperature above 0, got {temperature}; at 0 the choice is greedy")
    model._check_tokens(token_ids, max_new_tokens - 1)  # the last token is produced, never read

    total = token_ids.shape[1] + max_new_tokens
    cache = [KVCache(total) for _ in model.layers] if use_cache else None
    done = np.zeros(len(token_ids), bool)
    new = token_ids
    for _ in range(max_new_tokens):
        logits, _ = model(new if use_cache else token_ids, cache=cache, inference=True)
        chosen = sample(logits[:, -1], temperature=temperature, top_k=top_k, top_p=top_p, rng=rng)
        if eos_token_id is not None:
            chosen[done] = eos_token_id
            done |= chosen == eos_token_id
        new = chosen[:, None].astype(token_ids.dtype)
        token_ids = np.concatenate([token_ids, new], axis=1)
        if done.all():
            break
    return token_ids
