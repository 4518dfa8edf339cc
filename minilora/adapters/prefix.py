"""Prefix tuning: keys and values of virtual tokens, learned for every layer.

Li & Liang 2021 (arXiv 2101.00190); without the MLP between parameters and prefix it is P-Tuning v2 (Liu et al. 2022,
arXiv 2110.07602).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from minilora import checks
from minilora.adapters.surgery import check_new_adapter, put_on
from minilora.adapters.virtual import PATH, VirtualPart, VirtualTokens, check_room, in_cache_already
from minilora.nn import ops
from minilora.nn.llama import Llama
from minilora.nn.module import Module, Parameter, PendingParameter
from minilora.nn.past import KVCache, Past, Prefix


@dataclass(frozen=True)
class PrefixConfig:
    """How many virtual tokens, and where their keys and values come from, under PEFT's names.

    `prefix_projection`: they are what an MLP with `encoder_hidden_size` (the width of keys unless given) makes of learned
    embeddings, which trains more steadily and costs more parameters; else they are the parameters themselves.
    `init_weights`: None draws from N(0, 1), as PEFT does; "zero" (the last layer of the MLP, or all); "vocab": the keys and
    values that the model itself gives to tokens drawn at random, which starts better (Li & Liang, section 7.4), without a
    projection only. Raises ValueError or TypeError for a setting out of range, or settings that do not go together.
    """

    num_virtual_tokens: int = 8
    prefix_projection: bool = False
    encoder_hidden_size: int | None = None
    init_weights: str | None = None

    def __post_init__(self):
        keep = partial(object.__setattr__, self)
        keep("num_virtual_tokens", checks.integer("num_virtual_tokens", self.num_virtual_tokens, low=1, hint="try 8"))
        keep("prefix_projection", checks.boolean("prefix_projection", self.prefix_projection))
        if self.encoder_hidden_size is not None:
            if not self.prefix_projection:
                raise ValueError(
                    f"encoder_hidden_size must be None without prefix_projection, got {self.encoder_hidden_size}; "
                    "there is no encoder then"
                )
            keep("encoder_hidden_size", checks.integer("encoder_hidden_size", self.encoder_hidden_size, low=1))
        keep("init_weights", checks.one_of("init_weights", self.init_weights, (None, "zero", "vocab")))
        if self.prefix_projection and self.init_weights == "vocab":
            raise ValueError("init_weights must be None or 'zero' with prefix_projection, got 'vocab'")


class PrefixPart(VirtualPart):
    """Each layer's attention finds P keys and values before those of the tokens.

    prefix: (L, 2, K, P, d), keys and values of L layers, which are all that is learned.    x: (B, T, D)
    """

    def __init__(self, config: PrefixConfig, prefix: Parameter):
        super().__init__(config)
        self.prefix = prefix

    def keys_and_values(self) -> tuple[np.ndarray, Callable]:
        """The prefix (L, 2, K, P, d), and backward(dprefix) that gives the parameters their gradient."""
        return self.prefix.value, self.prefix.accumulate

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
        settings = {"rng": rng, "inference": inference, "logits_to_keep": logits_to_keep}
        if in_cache_already(cache):
            return forward_from(x, cache=cache, **settings)
        prefix, prefix_backward = self.keys_and_values()
        if cache is not None:
            _fill(cache, prefix, len(x))
            return forward_from(x, cache=cache, **settings)
        past = [Prefix(Parameter(keys), Parameter(values)) for keys, values in prefix]
        logits, layers_backward = forward_from(x, cache=past, **settings)

        def backward(dlogits):
            dx = layers_backward(dlogits)
            # every layer has left its gradient with its own piece of the prefix
            prefix_backward(np.stack([(layer.keys.grad, layer.values.grad) for layer in past]))
            return dx

        return logits, backward


class ProjectedPrefixPart(PrefixPart):
    """The same, with the prefix made by an MLP: W2 tanh(W1 e + b1) + b2 for each virtual token e.

    embedding: (P, C), C = K d, as in PEFT   W1: (E, C)   W2: (L 2 K d, E)
    """

    def __init__(
        self,
        config: PrefixConfig,
        embedding: Parameter,
        W1: Parameter,
        b1: Parameter,
        W2: Parameter,
        b2: Parameter,
        layout: tuple[int, ...],
    ):
        VirtualPart.__init__(self, config)
        self.embedding = embedding
        self.W1, self.b1, self.W2, self.b2 = W1, b1, W2, b2
        self.layout = layout  # (P, L, 2, K, d): what a row of the output means

    def keys_and_values(self) -> tuple[np.ndarray, Callable]:
        h, first_backward = ops.linear(self.embedding.value, self.W1.value)  # (P, C) -> (P, E)
        t = np.tanh(h + self.b1.value)
        out, second_backward = ops.linear(t, self.W2.value)  # (P, E) -> (P, L*2*K*d)
        out += self.b2.value

        def backward(dprefix):
            # prefix = out, its axes in another order   =>  dout = dprefix, its axes put back
            dout = dprefix.transpose(3, 0, 1, 2, 4).reshape(out.shape)
            # out = t W2ᵀ + b2
            dt, dW2 = second_backward(dout)
            self.W2.accumulate(dW2)
            self.b2.accumulate(dout.sum(axis=0))
            # t = tanh(h + b1)    =>  dh = dt (1 - t²)
            dh = dt * (1.0 - t * t)
            self.b1.accumulate(dh.sum(axis=0))
            # h = e W1ᵀ
            dembedding, dW1 = first_backward(dh)
            self.W1.accumulate(dW1)
            self.embedding.accumulate(dembedding)

        return out.reshape(self.layout).transpose(1, 2, 3, 0, 4), backward  # (P, L, 2, K, d) -> (L, 2, K, P, d)


def prefix_parts(model: Llama, config: PrefixConfig, rng: np.random.Generator | None) -> dict[str, PrefixPart]:
    """The prefix, drawn, or a skeleton without `rng`. Changes nothing."""
    checks.instance("model", model, Llama)
    check_room(model, config.num_virtual_tokens)
    P, L = config.num_virtual_tokens, model.config.num_hidden_layers
    K, d = model.config.num_key_value_heads, model.config.head_dim

    def normal(*shape, zero=False):
        if rng is None:
            return PendingParameter(shape, model.dtype)
        return Parameter((np.zeros(shape) if zero else rng.standard_normal(shape)).astype(model.dtype))

    def uniform(fan_in, *shape):  # as torch draws a linear layer and its bias
        if rng is None:
            return PendingParameter(shape, model.dtype)
        return Parameter((rng.uniform(-1, 1, shape) / math.sqrt(fan_in)).astype(model.dtype))

    zero = config.init_weights == "zero"
    if not config.prefix_projection:
        if rng is not None and config.init_weights == "vocab":
            return {PATH: PrefixPart(config, Parameter(_of_random_tokens(model, P, rng)))}
        return {PATH: PrefixPart(config, normal(L, 2, K, P, d, zero=zero))}
    C = K * d
    E = config.encoder_hidden_size or C
    embedding = normal(P, C)
    W1, b1, W2, b2 = uniform(C, E, C), uniform(C, E), uniform(E, L * 2 * C, E), uniform(E, L * 2 * C)
    if zero and rng is not None:
        W2.value[...], b2.value[...] = 0, 0
    return {PATH: ProjectedPrefixPart(config, embedding, W1, b1, W2, b2, (P, L, 2, K, d))}


def apply_prefix(
    model: Llama, config: PrefixConfig, *, rng: np.random.Generator, adapter_name: str = "default"
) -> list[str]:
    """Freeze `model` and put learned keys and values before every text, in every layer, in place: 2 L K d P parameters.

    The logits stay those of the tokens given; the virtual tokens take the first P of max_position_embeddings positions,
    so the tokens stand at positions P, P + 1, ... as in PEFT. Raises ValueError for a name in use, a merged model, or more
    virtual tokens than positions, before anything is changed.
    """
    checks.instance("config", config, PrefixConfig)
    checks.generator("rng", rng)
    check_new_adapter(model, adapter_name)
    return put_on(model, adapter_name, prefix_parts(model, config, rng), VirtualTokens)


def _fill(cache, prefix, B):
    """Put the prefix into empty caches, the same in each of B rows."""
    for layer, (keys, values) in zip(cache, prefix, strict=True):
        layer.reserve(keys.shape[1])
        layer.extend(*(np.broadcast_to(part, (B, *part.shape)) for part in (keys, values)))


def _of_random_tokens(model, P, rng):
    """The keys and values that the bare model gives to P random tokens.    (L, 2, K, P, d)"""
    cache = [KVCache(P) for _ in model.layers]
    x, _ = model.embed_tokens(rng.integers(0, model.config.vocab_size, (1, P)))
    type(model).forward_from(model, x, cache=cache, inference=True)
    K, d = model.config.num_key_value_heads, model.config.head_dim
    nothing = np.empty((1, K, 0, d), model.dtype)
    return np.stack([[part[0] for part in layer.extend(nothing, nothing)[0]] for layer in cache])
