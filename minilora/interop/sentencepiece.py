"""SentencePiece's BPE as a GGUF file keeps it (Llama 1 and 2, Mistral, TinyLlama): tokens with scores, and no list of merges.

llama.cpp merges, again and again, the two neighboring pieces whose union is the token of the highest score (src/llama-vocab.cpp).
The package `tokenizers` wants the same as a ranked list of pairs: every way to cut a token into two others, by the token's score.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minilora import checks

SPACE = "▁"  # how SentencePiece writes a space
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # GGUF's types of tokens; the last two stand for themselves
LONGEST = 512  # characters of a token; every cut of each is tried


def sentencepiece_bpe(
    library: Any, tokens: Sequence[str], scores: Any, kinds: Sequence[int], origin: str, *, space_prefix: bool
) -> Any:
    """A Tokenizer of the package `tokenizers` (`library`) for tokens with scores and types, each (V,).

    What is not in the vocabulary becomes bytes (<0x0A>). `space_prefix`: a text starts as if a space stood before it.
    ValueError, naming `origin`, for scores that do not fit the tokens or a token beyond LONGEST.
    """
    listed = numbers(scores)
    if listed.shape != (len(tokens),) or listed.dtype.kind not in "fiu" or not np.isfinite(listed).all():
        raise ValueError(
            f"{origin}: tokenizer.ggml.scores must have one finite number per token, "
            f"got {checks.shown(scores)} for {len(tokens)} tokens; get the file again"
        )
    if (longest := max(map(len, tokens))) > LONGEST:
        raise ValueError(f"{origin}: a token must have at most {LONGEST} characters, got one of {longest}")
    ids = {token: i for i, token in enumerate(tokens)}
    unknown = next((token for token, kind in zip(tokens, kinds, strict=True) if kind == UNKNOWN), None)
    bpe = library.models.BPE(
        ids,
        merges(ids, listed, {token for token, kind in zip(tokens, kinds, strict=True) if kind == NORMAL}),
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = library.Tokenizer(bpe)
    normalizers, decoders = library.normalizers, library.decoders
    prefix = [normalizers.Prepend(SPACE)] if space_prefix else []
    tokenizer.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", SPACE)])
    without = [decoders.Strip(" ", 1, 0)] if space_prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *without]
    )
    return tokenizer


def numbers(values: Any) -> np.ndarray:
    """What a file has where an array of numbers belongs. Anything else becomes an empty array: of words, numpy would make
    one in which each takes as much memory as the longest."""
    plain = isinstance(values, (list, tuple)) and all(isinstance(value, (int, float)) for value in values)
    return np.asarray(values) if plain or isinstance(values, np.ndarray) else np.empty(0)


def merges(ids: dict[str, int], scores: np.ndarray, normal: set[str]) -> list[tuple[str, str]]:
    """The pairs of normal tokens that make a normal token, that of the highest score first; pairs of one token by their ids."""
    ranked = []
    for token in normal:
        score = -float(scores[ids[token]])
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in normal and right in normal:
                ranked.append((score, ids[token], ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(ranked)]
