"""Attention, MLP, Block, Llama: the model of Touvron et al. 2023 (arXiv 2302.13971), forward and backward."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minilora import checks
from minilora.machine import one_blas_thread
from minilora.nn import fast, ops
from minilora.nn.config import LlamaConfig
from minilora.nn.layers import (
    PENDING,
    Embedding,
    Linear,
    RMSNorm,
    check_dtype,
    check_token_ids,
    project,
    project_backward,
)
from minilora.nn.module import Module, PendingParameter
from minilora.nn.past import KVCache, Past
from minilora.nn.rope import rope_table


class Attention(Module):
    """Causal self-attention with RoPE and grouped key/value heads.    x, y: (B, T, D)"""

    def __init__(self, config: LlamaConfig, *, rng: np.random.Generator, dtype: np.dtype | type = np.float32):
        D, d, std = config.hidden_size, config.head_dim, config.initializer_range
        H, K = config.num_attention_heads, config.num_key_value_heads
        self.q_proj = Linear(D, H * d, rng=rng, dtype=dtype, std=std)
        self.k_proj = Linear(D, K * d, rng=rng, dtype=dtype, std=std)
        self.v_proj = Linear(D, K * d, rng=rng, dtype=dtype, std=std)
        self.o_proj = Linear(H * d, D, rng=rng, dtype=dtype, std=std)
        self.head_dim, self.rope_theta = d, config.rope_theta
        self._ends = H * d, (H + K) * d  # where q ends and where k ends, beside each other
        self.rope_scaling = None if config.rope_scaling is None else tuple(config.rope_scaling.items())

    def settings(self) -> dict[str, Any]:
        return {"head_dim": self.head_dim, "rope_theta": self.rope_theta, "rope_scaling": self.rope_scaling}

    def __call__(
        self,
        x: np.ndarray,
        *,
        rng: np.random.Generator | None = None,
        cache: Past | None = None,
        memo: list | None = None,
    ) -> tuple[np.ndarray, Callable]:
        a, a_backward = self._attended(x, rng, cache, memo)  # (B, T, D) -> (B, T, H*d)
        y, o_backward = project(a, self.o_proj, rng=rng)  # (B, T, H*d) -> (B, T, D)

        def backward(dy):
            return a_backward(o_backward(dy))

        return y, backward

    def backward_alone(
        self, x: np.ndarray, *, rng: np.random.Generator | None, cache: Past | None, memo: list
    ) -> Callable:
        """The backward of a call whose y is known already, and what attention keeps, too (`memo`)."""
        a, a_backward = self._attended(x, rng, cache, memo)
        o_backward = project_backward(a, self.o_proj, rng=rng)
        return lambda dy: a_backward(o_backward(dy))

    def _attended(self, x, rng, cache, memo):
        """Each head's weighted means of v.    x: (B, T, D) -> (B, T, H*d)"""
        start = 0 if cache is None else cache.length
        # (B, T, D) -> (B, T, (H + 2*K)*d)
        qkv, qkv_backward = project(x, self.q_proj, self.k_proj, self.v_proj, rng=rng)
        q, k, v = np.split(qkv, self._ends, axis=-1)
        shape = qkv.shape
        cos, sin = rope_table(start + x.shape[1], self.head_dim, self.rope_theta, x.dtype, self.rope_scaling)
        q, q_rope_backward = fast.rope(self._heads(q), cos[start:], sin[start:])  # (B, T, H*d) -> (B, H, T, d)
        k, k_rope_backward = fast.rope(self._heads(k), cos[start:], sin[start:])  # (B, T, K*d) -> (B, K, T, d)
        v = self._split(v)
        if cache is not None:
            (k, v), past_backward = cache.extend(k, v)  # (B, K, S, d): the past and the new
        if q.shape[2] >= fast.BLOCKS_PAY:
            a, attention_backward = fast.causal_attention(q, k, v, memo)
        else:
            a, attention_backward = ops.causal_attention(q, k, v)

        def backward(da):
            dq, dk, dv = attention_backward(self._heads(da))
            if cache is not None:
                dk, dv = past_backward(dk, dv)
            dq, dk = q_rope_backward(dq), k_rope_backward(dk)
            dqkv = np.empty(shape, da.dtype)
            for part, d_part in zip(np.split(dqkv, self._ends, axis=-1), (dq, dk, dv), strict=True):
                self._heads(part)[...] = d_part
            return qkv_backward(dqkv)

        return self._join(a), backward

    def _heads(self, x):
        """(B, T, H*d) -> (B, H, T, d), a view."""
        B, T, width = x.shape
        return x.reshape(B, T, width // self.head_dim, self.head_dim).swapaxes(1, 2)

    def _split(self, x):
        """(B, T, H*d) -> (B, H, T, d), contiguous for the products that follow."""
        return np.ascontiguousarray(self._heads(x))

    def _join(self, x):
        """(B, H, T, d) -> (B, T, H*d)."""
        B, H, T, d = x.shape
        return x.swapaxes(1, 2).reshape(B, T, H * d)


class MLP(Module):
    """down(silu(gate(x)) * up(x)).    x, y: (B, T, D)    SwiGLU: Shazeer 2020, eq. 6"""

    def __init__(self, config: LlamaConfig, *, rng: np.random.Generator, dtype: np.dtype | type = np.float32):
        D, F, std = config.hidden_size, config.intermediate_size, config.initializer_range
        self.gate_proj = Linear(D, F, rng=rng, dtype=dtype, std=std)
        self.up_proj = Linear(D, F, rng=rng, dtype=dtype, std=std)
        self.down_proj = Linear(F, D, rng=rng, dtype=dtype, std=std)

    def __call__(self, x: np.ndarray, *, rng: np.random.Generator | None = None) -> tuple[np.ndarray, Callable]:
        h, h_backward = self._up(x, rng)  # (B, T, D) -> (B, T, F)
        y, down_backward = project(h, self.down_proj, rng=rng)  # (B, T, F) -> (B, T, D)

        def backward(dy):
            return h_backward(down_backward(dy))

        return y, backward

    def backward_alone(self, x: np.ndarray, *, rng: np.random.Generator | None = None) -> Callable:
        """The backward of a call whose y is known already: all but the last product is computed again."""
        h, h_backward = self._up(x, rng)
        down_backward = project_backward(h, self.down_proj, rng=rng)
        return lambda dy: h_backward(down_backward(dy))

    def _up(self, x, rng):
        """silu(gate(x)) * up(x).    x: (B, T, D) -> (B, T, F)"""
        gate_up, gate_up_backward = project(x, self.gate_proj, self.up_proj, rng=rng)  # (B, T, D) -> (B, T, 2*F)
        h, swiglu_backward = fast.swiglu(gate_up)  # (B, T, 2*F) -> (B, T, F)

        def backward(dh):
            return gate_up_backward(swiglu_backward(dh))

        return h, backward


class Block(Module):
    """h = x + attention(norm(x));  y = h + mlp(norm(h)).    x, y: (B, T, D)"""

    def __init__(self, config: LlamaConfig, *, rng: np.random.Generator, dtype: np.dtype | type = np.float32):
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, dtype=dtype)
        self.self_attn = Attention(config, rng=rng, dtype=dtype)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, dtype=dtype)
        self.mlp = MLP(config, rng=rng, dtype=dtype)

    def __call__(
        self,
        x: np.ndarray,
        *,
        rng: np.random.Generator | None = None,
        cache: Past | None = None,
        memo: list | None = None,
    ) -> tuple[np.ndarray, Callable]:
        h, attention_backward = self.plus_attention(x, rng, cache, memo)
        n, norm_backward = self.post_attention_layernorm(h)
        m, mlp_backward = self.mlp(n, rng=rng)
        y = np.add(h, m, out=m)

        def backward(dy):
            # y = h + mlp(norm(h))         =>  dh = dy + what comes back through the MLP
            dh = norm_backward(mlp_backward(dy))
            dh += dy
            return attention_backward(dh)

        return y, backward

    def plus_attention(
        self, x: np.ndarray, rng: np.random.Generator | None, cache: Past | None, memo: list | None = None
    ) -> tuple[np.ndarray, Callable]:
        """The first half: h = x + attention(norm(x)).    x, h: (B, T, D)

        `memo`: as in `fast.causal_attention`; where that puts something in, h follows it, and is not computed again either.
        """
        n, norm_backward = self.input_layernorm(x)
        how = {"rng": rng, "cache": cache, "memo": memo}
        if memo and type(self.self_attn) is Attention:
            h, attention_backward = memo[1], self.self_attn.backward_alone(n, **how)
        else:
            a, attention_backward = self.self_attn(n, **how)
            h = np.add(x, a, out=a)
            if memo and len(memo) == 1:
                memo.append(h)

        def backward(dh):
            # h = x + attention(norm(x))   =>  dx = dh + what comes back through attention
            dx = norm_backward(attention_backward(dh))
            dx += dh
            return dx

        return h, backward


class Llama(Module):
    """Token ids to logits.    token_ids: (B, T)   logits: (B, T, V)

    Parameters carry Hugging Face's paths without the leading "model."; a tied head has no parameter of its own. Raises
    TypeError for a config, dtype or rng that is not one.
    """

    virtual_tokens = 0  # positions before the first token that an adapter's virtual tokens take

    def __init__(self, config: LlamaConfig, *, rng: np.random.Generator, dtype: np.dtype | type = np.float32):
        if not isinstance(config, LlamaConfig):
            raise TypeError(f"config must be a LlamaConfig, got {checks.shown(config)}")
        if rng is not PENDING:
            checks.generator("rng", rng)
        dtype = check_dtype(dtype)
        D, V, std = config.hidden_size, config.vocab_size, config.initializer_range
        self.config = config
        self.embed_tokens = Embedding(V, D, rng=rng, dtype=dtype, std=std)
        self.layers = [Block(config, rng=rng, dtype=dtype) for _ in range(config.num_hidden_layers)]
        self.norm = RMSNorm(D, config.rms_norm_eps, dtype=dtype)
        if not config.tie_word_embeddings:
            self.lm_head = Linear(D, V, rng=rng, dtype=dtype, std=std)

    @classmethod
    def skeleton(cls, config: LlamaConfig, dtype: np.dtype | type = np.float32) -> "Llama":
        """A Llama before its weights: every path and shape is there, nothing is drawn and no weight is held.

        Weights come by `load_state`, or layer by layer (`parameter.fill`, or `set_submodule` with a layer in four bits).
        Using a weight before it has come is a ValueError.
        """
        model = cls(config, rng=PENDING, dtype=dtype)
        for _, module in model.named_modules():
            if isinstance(module, RMSNorm):  # a fresh one holds ones
                module.weight = PendingParameter(module.weight.shape, module.weight.dtype)
        return model

    @property
    def dtype(self) -> np.dtype:
        return self.embed_tokens.weight.dtype

    def describe(self) -> str:
        """Its config, for `print(model)`."""
        return repr(self.config)

    def head(self) -> Linear:
        """The output layer: `lm_head`, or the embedding matrix used a second time where they are tied."""
        if not self.config.tie_word_embeddings:
            return self.lm_head
        V, D = self.embed_tokens.weight.shape
        tied = Linear(D, V, rng=PENDING, dtype=self.dtype)
        tied.weight = self.embed_tokens.weight  # the very same Parameter: both uses add to its gradient
        return tied

    def __call__(
        self,
        token_ids: np.ndarray,
        *,
        rng: np.random.Generator | None = None,
        cache: Sequence[KVCache] | None = None,
        inference: bool = False,
        logits_to_keep: int = 0,
    ) -> tuple[np.ndarray, Callable]:
        """logits (B, T, V) and backward(dlogits) -> None.

        `rng`: dropout acts exactly when it is given. `cache`: one KVCache per layer (see `stream`).
        `inference=True` drops each layer's closure as the forward goes, so that no activations pile up.
        `logits_to_keep`: compute the logits of the last so many positions only, (B, logits_to_keep, V); 0 means all.
        Raises TypeError or ValueError for token ids that are not integers, out of range, empty or too long, and for a
        `cache` that does not fit model and batch; nothing has changed then.
        """
        _check_forward(rng, inference, logits_to_keep)
        x, embed_backward = self._embedded(token_ids, cache)  # (B, T) -> (B, T, D)
        logits, layers_backward = self.forward_from(
            x, rng=rng, cache=cache, inference=inference, logits_to_keep=logits_to_keep
        )

        def backward(dlogits):
            embed_backward(layers_backward(dlogits))

        return logits, backward

    def forward_from(
        self,
        x: np.ndarray,
        *,
        rng: np.random.Generator | None = None,
        cache: Sequence[Past] | None = None,
        inference: bool = False,
        logits_to_keep: int = 0,
    ) -> tuple[np.ndarray, Callable]:
        """From below the first block: x (B, T, D), as the embedding gives it, to logits and backward(dlogits) -> dx.

        `cache`: one Past per layer, a KVCache or a Prefix. The rest as in `model(token_ids)`.
        """
        _check_forward(rng, inference, logits_to_keep)
        T = checks.float_array("x", x, ndim=(3,)).shape[1]
        if cache is not None and (not isinstance(cache, (list, tuple)) or len(cache) != len(self.layers)):
            raise TypeError(
                f"cache must hold one Past for each of {len(self.layers)} layers, got {checks.shown(cache)}"
            )
        first = T - min(logits_to_keep or T, T)  # position whose logits come first
        with one_blas_thread if T >= fast.BLOCKS_PAY else contextlib.nullcontext():
            x, layers_backward = self._through_layers(x, rng, cache, inference)
            x, norm_backward = self.norm(x[:, first:])
            logits, head_backward = self.head()(x)  # (B, T, D) -> (B, T, V)
        if inference:
            return logits, _no_backward

        @one_blas_thread
        def backward(dlogits):
            dx = norm_backward(head_backward(dlogits))
            if first:  # positions without logits get no gradient from above
                dx = np.concatenate([np.zeros((len(dx), first, dx.shape[2]), dx.dtype), dx], axis=1)
            return layers_backward(dx)

        return logits, backward

    def _embedded(self, token_ids, cache=None):
        past = 0 if cache is None else check_cache(cache, self, token_ids)
        self.check_tokens(token_ids, past=past or self.virtual_tokens)
        return self.embed_tokens(token_ids)

    def _through_layers(self, x, rng, cache, inference):
        """x (B, T, D) through every block, and backward(dx) -> dx."""
        backwards = []
        for i, layer in enumerate(self.layers):
            x, layer_backward = layer(x, rng=rng, cache=None if cache is None else cache[i])
            if not inference:
                backwards.append(layer_backward)
            del layer_backward

        def backward(dx):
            for layer_backward in reversed(backwards):
                dx = layer_backward(dx)
            return dx

        return x, backward

    @one_blas_thread
    def loss(
        self,
        token_ids: np.ndarray,
        labels: np.ndarray,
        *,
        rng: np.random.Generator | None = None,
        inference: bool = False,
    ) -> tuple[np.floating, Callable]:
        """Mean cross-entropy in nats over the labels that count, and backward(dloss=1.0) -> None.

        token_ids, labels: (B, T); labels are already shifted by the caller, -100 = ignored.
        """
        check_labels(labels, token_ids, self.config.vocab_size)
        if type(self.head()) is Linear and not self.virtual_tokens:
            return self._loss_in_blocks(token_ids, labels, rng, inference)
        logits, model_backward = self(token_ids, rng=rng, inference=inference)
        loss, loss_backward = ops.cross_entropy(logits, labels)

        @one_blas_thread
        def backward(dloss=1.0):
            model_backward(loss_backward(dloss))

        return loss, backward

    def _loss_in_blocks(self, token_ids, labels, rng, inference):
        """The same loss, computed at the positions that count alone and without holding all their logits."""
        _check_forward(rng, inference, 0)
        x, embed_backward = self._embedded(token_ids)  # (B, T) -> (B, T, D)
        x, layers_backward = self._through_layers(x, rng, None, inference)
        shape, counted = x.shape, np.flatnonzero(labels.reshape(-1) != -100)
        x, norm_backward = self.norm(x.reshape(-1, shape[-1])[counted])  # (B, T, D) -> (N, D)
        weight = self.head().weight
        wanted = () if inference else ("x", "weight") if weight.trainable else ("x",)
        loss, head_backward = fast.linear_cross_entropy(x, weight.value, labels.reshape(-1)[counted], wanted)
        if inference:
            return loss, _no_backward

        @one_blas_thread
        def backward(dloss=1.0):
            dx_counted, dweight = head_backward(dloss)
            if dweight is not None:
                weight.accumulate(dweight)
            dx = np.zeros((labels.size, shape[-1]), weight.dtype)
            dx[counted] = norm_backward(dx_counted)
            embed_backward(layers_backward(dx.reshape(shape)))

        return loss, backward

    def check_tokens(self, token_ids: np.ndarray, past: int = 0) -> None:
        """token_ids must be integers (B, T) of this vocabulary that fit behind `past` positions; else an error says why."""
        check_token_ids("token_ids", token_ids, self.config.vocab_size)
        if token_ids.ndim != 2:
            raise ValueError(f"token_ids must have 2 axes (B, T), got {checks.shown(token_ids)}; try token_ids[None]")
        limit = self.config.max_position_embeddings
        if past + token_ids.shape[1] > limit:
            raise ValueError(
                f"token_ids must reach no further than max_position_embeddings = {limit} positions, "
                f"got {past + token_ids.shape[1]}; shorten the text"
            )


def _check_forward(rng, inference, logits_to_keep):
    checks.optional_generator("rng", rng)
    checks.boolean("inference", inference)
    checks.integer("logits_to_keep", logits_to_keep, low=0)


def check_cache(cache: Sequence[KVCache], model: Llama, token_ids: np.ndarray) -> int:
    """How many positions `cache` holds. TypeError or ValueError if it is not one KVCache per layer, all equally long,
    for this batch, with room for the new tokens."""
    if not isinstance(cache, (list, tuple)) or not all(isinstance(layer, KVCache) for layer in cache):
        raise TypeError(f"cache must be a list of KVCache, one per layer, got {checks.shown(cache)}")
    if len(cache) != len(model.layers):
        raise ValueError(f"cache must hold one KVCache for each of {len(model.layers)} layers, got {len(cache)}")
    lengths = sorted({layer.length for layer in cache})
    if len(lengths) > 1:
        raise ValueError(f"cache must have the same length in every layer, got {lengths}; start with empty ones")
    new, room = token_ids.shape[-1:], min(layer.capacity for layer in cache) - lengths[0]
    if new and new[0] > room:
        raise ValueError(f"cache must have room for {new[0]} more positions, got {room}; make it with more capacity")
    for layer in cache:
        if layer.batch not in (None, *token_ids.shape[:1]):
            raise ValueError(f"token_ids must have as many rows as the cache, {layer.batch}, got {len(token_ids)}")
    return lengths[0]


def check_labels(labels: np.ndarray, token_ids: np.ndarray, vocab_size: int) -> None:
    """labels must be integers of token_ids' shape, each -100 or in 0 .. vocab_size - 1, and one at least must count."""
    checks.integer_array("token_ids", token_ids)
    checks.integer_array("labels", labels, low=0, high=vocab_size - 1, ignored=-100)
    if labels.shape != np.shape(token_ids):
        raise ValueError(f"labels must have the shape of token_ids {np.shape(token_ids)}, got {checks.shown(labels)}")
    if not np.any(labels != -100):
        raise ValueError("labels must hold at least one label that counts, got only -100 (ignored)")


def _no_backward(*_):
    raise ValueError("this forward ran with inference=True and kept nothing; call it without to get a backward")
