"""Generating with a KV cache: each step runs the new token alone and finds the past in the cache."""

from collections.abc import Iterator, Sequence

import numpy as np

from minilora import checks
from minilora.machine import keep_memory
from minilora.nn.decode import Decoder
from minilora.nn.llama import Llama
from minilora.nn.past import KVCache
from minilora.nn.sampling import sample

DECODER_PAYS = 32  # new tokens: laying out the weights takes as long as about 20 tokens


def generate(
    model: Llama,
    token_ids: np.ndarray,
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    rng: np.random.Generator | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    use_cache: bool = True,
    decoder: Decoder | bool = True,
) -> np.ndarray:
    """Continue each row of `token_ids` (B, T) by up to `max_new_tokens`; returns prompt and new tokens, (B, T + new).

    All that `stream` yields, in one array: arguments and errors are those of `stream`. The prompt may have any integer
    dtype; what comes back is int64.
    """
    new = stream(
        model,
        token_ids,
        max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        rng=rng,
        eos_token_id=eos_token_id,
        use_cache=use_cache,
        decoder=decoder,
    )
    return np.column_stack([token_ids.astype(np.int64), *new])


def stream(
    model: Llama,
    token_ids: np.ndarray,
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    rng: np.random.Generator | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    use_cache: bool = True,
    decoder: Decoder | bool = True,
) -> Iterator[np.ndarray]:
    """Continue each row of `token_ids` (B, T), any integer dtype; yields the next token of every row, (B,) int64, as
    soon as it is chosen, up to `max_new_tokens` times.

    `temperature` 0 is greedy; above 0 it samples and needs `rng`, from the `top_k` likeliest tokens and from the
    smallest set whose probability reaches `top_p` (nucleus sampling, Holtzman et al. 2019), where given.
    A row that has produced `eos_token_id`, or one of several, is filled up with it; all rows done ends the stream.
    `use_cache=False` runs the whole text again for each token: slower, the same tokens.
    `decoder`: True lays the weights out for decoding where that pays, from DECODER_PAYS new tokens on: about twice as fast,
    for a second copy of a dense model's weights while it lasts (see `nn.decode.Decoder`). False takes no more memory. A
    Decoder made of this very model saves laying out the weights at each call.
    Arguments are checked at the call, before the first token. Raises ValueError or TypeError for arguments out of range,
    texts that outgrow max_position_embeddings, and logits that are not numbers. Keeps freed memory in the process (see
    `minilora.machine.keep_memory`).
    """
    if not isinstance(model, Llama):
        raise TypeError(f"model must be a Llama, got {checks.shown(model)}")
    max_new_tokens = checks.integer("max_new_tokens", max_new_tokens, low=1, high=model.config.max_position_embeddings)
    temperature = checks.real("temperature", temperature, low=0)
    if top_k is not None:
        top_k = checks.integer("top_k", top_k, low=1)
    if top_p is not None:
        top_p = checks.real("top_p", top_p, above=0, high=1)
    ends = _ends(eos_token_id, model.config.vocab_size)
    checks.boolean("use_cache", use_cache)
    if isinstance(decoder, Decoder):
        if decoder.model is not model or not use_cache:
            raise ValueError(f"decoder must be made of this model and used with a cache, got {checks.shown(decoder)}")
    else:
        checks.boolean("decoder", decoder)
    if temperature > 0:
        checks.generator("rng", rng)
    elif top_k is not None or top_p is not None:
        raise ValueError(f"top_k and top_p need a temperature above 0, got {temperature}; at 0 the choice is greedy")
    new = max_new_tokens - 1  # the last token is produced, never read
    model.check_tokens(token_ids, past=model.virtual_tokens + new)
    keep_memory()

    def choose(logits):
        return sample(logits, temperature=temperature, top_k=top_k, top_p=top_p, rng=rng)

    if decoder is True and use_cache:
        decoder = decoder_for(model, max_new_tokens)
    return _stream(model, token_ids.astype(np.int64), max_new_tokens, choose, ends, use_cache, decoder)


def decoder_for(model: Llama, new_tokens: int) -> Decoder | bool:
    """A Decoder of `model` where it pays, for so many new tokens in all calls together; else False: do without.

    Raises ValueError or TypeError for a model that is none or new_tokens below 1.
    """
    checks.instance("model", model, Llama, hint="load_base() gives one")
    new_tokens = checks.integer("new_tokens", new_tokens, low=1)
    return Decoder(model) if new_tokens >= DECODER_PAYS and Decoder.fits(model) else False


def _ends(eos_token_id, vocab_size):
    """The tokens that end a row, as a list."""
    if eos_token_id is None:
        return []
    if not isinstance(eos_token_id, (list, tuple)):
        return [checks.integer("eos_token_id", eos_token_id, low=0, high=vocab_size - 1)]
    if not eos_token_id:
        raise ValueError("eos_token_id must hold at least one token, got none; None never stops early")
    return [
        checks.integer(f"eos_token_id[{i}]", token, low=0, high=vocab_size - 1) for i, token in enumerate(eos_token_id)
    ]


def _stream(model, token_ids, max_new_tokens, choose, ends, use_cache, decoder):
    capacity = token_ids.shape[1] + max_new_tokens - 1
    cache = [KVCache(capacity) for _ in model.layers] if use_cache else None
    done, last = np.zeros(len(token_ids), bool), np.zeros(len(token_ids), np.int64)
    for i in range(max_new_tokens):
        if i and isinstance(decoder, Decoder):
            logits = decoder(token_ids[:, 0], cache)
        else:
            logits = model(token_ids, cache=cache, inference=True, logits_to_keep=1)[0][:, -1]
        new = choose(logits)
        if ends:
            new[done] = last[done]
            done |= np.isin(new, ends)
            last = new.copy()
        yield new.copy()  # the caller's own: writing into it changes nothing here
        if done.all():
            return
        token_ids = new[:, None] if use_cache else np.column_stack([token_ids, new])
