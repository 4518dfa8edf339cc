"""Prompt tuning: embeddings of tokens that are not in the vocabulary, learned (Lester et al. 2021, arXiv 2104.08691)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from minilora import checks
from minilora.adapters.surgery import check_new_adapter, put_on
from minilora.adapters.virtual import PATH, VirtualPart, VirtualTokens, check_room, in_cache_already
from minilora.nn.llama import Llama
from minilora.nn.module import Module, Parameter, PendingParameter
from minilora.nn.past import Past


@dataclass(frozen=True)
class PromptConfig:
    """How many virtual tokens, and how they start, under PEFT's names.

    `prompt_tuning_init`: "SAMPLE_VOCAB" starts from the embeddings of tokens drawn at random, "RANDOM" from N(0, 1), as PEFT
    does; real embeddings are much smaller, and start better (Lester et al., figure 3b). `init_token_ids`: start from
    these tokens instead, repeated or cut to length (PEFT's "TEXT"). Raises ValueError or TypeError for a setting out of
    range.
    """

    num_virtual_tokens: int = 8
    prompt_tuning_init: str = "SAMPLE_VOCAB"
    init_token_ids: tuple[int, ...] | None = None

    def __post_init__(self):
        keep = partial(object.__setattr__, self)
        keep("num_virtual_tokens", checks.integer("num_virtual_tokens", self.num_virtual_tokens, low=1, hint="try 8"))
        keep(
            "prompt_tuning_init",
            checks.one_of("prompt_tuning_init", self.prompt_tuning_init, ("SAMPLE_VOCAB", "RANDOM")),
        )
        if self.init_token_ids is not None:
            given = self.init_token_ids
            if isinstance(given, np.ndarray):
                given = checks.integer_array("init_token_ids", given, ndim=(1,)).tolist()
            given = checks.sequence("init_token_ids", given, hint="pass a list of token ids")
            ids = (checks.integer(f"init_token_ids[{i}]", token, low=0) for i, token in enumerate(given))
            keep("init_token_ids", tuple(ids))


class Prompt(VirtualPart):
    """x becomes [prompt; x], and the logits of the prompt's positions are dropped.    prompt: (P, D)   x: (B, T, D)"""

    def __init__(self, config: PromptConfig, prompt: Parameter):
        super().__init__(config)
        self.prompt = prompt

    def __call__(
        self,
        forward_from: Module,
        x: np.ndarray,
        *,
        rng: np.random.Generator | None = None,
        cache: Sequence[Past] | None = None,
        inference: bool = False,
        logits_to_keep: int = 0,
    ) -> tuple[np.ndarray, Callable]:
        if in_cache_already(cache):
            return forward_from(x, rng=rng, cache=cache, inference=inference, logits_to_keep=logits_to_keep)
        (B, T, D), P = x.shape, self.num_virtual_tokens
        for layer in cache or ():
            layer.reserve(P)
        longer = np.concatenate([np.broadcast_to(self.prompt.value, (B, P, D)), x], axis=1)  # (B, P + T, D)
        logits, longer_backward = forward_from(
            longer, rng=rng, cache=cache, inference=inference, logits_to_keep=logits_to_keep or T
        )

        def backward(dlogits):
            dlonger = longer_backward(dlogits)
            # longer = [prompt; x], the same prompt in every row   =>  dprompt is the sum over rows, dx the rest
            self.prompt.accumulate(dlonger[:, :P].sum(axis=0))
            return dlonger[:, P:]

        return logits, backward


def prompt_parts(model: Llama, config: PromptConfig, rng: np.random.Generator | None) -> dict[str, Prompt]:
    """The prompt, drawn, or a skeleton without `rng`. Changes nothing."""
    checks.instance("model", model, Llama)
    check_room(model, config.num_virtual_tokens)
    V, D = model.config.vocab_size, model.config.hidden_size
    P, ids = config.num_virtual_tokens, config.init_token_ids
    if ids is not None and max(ids) >= V:
        raise ValueError(f"init_token_ids must lie in 0 .. {V - 1}, got {max(ids)}")
    if rng is None:
        return {PATH: Prompt(config, PendingParameter((P, D), model.dtype))}
    if ids is None and config.prompt_tuning_init == "RANDOM":
        prompt = rng.standard_normal((P, D)).astype(model.dtype)
    else:
        tokens = rng.integers(0, V, P) if ids is None else np.resize(ids, P)
        prompt = model.embed_tokens(tokens)[0]
    return {PATH: Prompt(config, Parameter(prompt))}


def apply_prompt(
    model: Llama, config: PromptConfig, *, rng: np.random.Generator, adapter_name: str = "default"
) -> list[str]:
    """Freeze `model` and put learned embeddings before every text, in place: P D parameters.

    The logits stay those of the tokens given; the virtual tokens take the first P of max_position_embeddings positions.
    Raises ValueError for a name in use, a merged model, or more virtual tokens than positions, before anything is changed.
    """
    checks.instance("config", config, PromptConfig)
    checks.generator("rng", rng)
    check_new_adapter(model, adapter_name)
    return put_on(model, adapter_name, prompt_parts(model, config, rng), VirtualTokens)
