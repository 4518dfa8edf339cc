"""What a tokenizer is, and the simplest one: bytes, 256 of them, nothing to learn, nothing to download.

UTF-8 never uses the byte values 0xF8 to 0xFF (RFC 3629), so four of them serve as special tokens.
"""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np

from minilora import checks


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token ids and back. A special token that a tokenizer does not have is None.

    `encode` adds no special tokens: where they go is decided by a `Template`. A tokenizer may have `add_bos_token`, too, as
    Hugging Face's have: False where a text does not begin with `bos` although there is one.
    """

    vocab_size: int
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None
    sep_token_id: int | None

    def encode(self, text: str) -> np.ndarray:
        """The tokens of `text`, without special tokens.    (length,) int64"""

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of `token_ids` (one axis), special tokens left out."""


def check_tokenizer(name: str, value: Tokenizer) -> None:
    """`value` must be a tokenizer; else TypeError that says what one has."""
    if isinstance(value, type) or not isinstance(value, Tokenizer):
        raise TypeError(
            f"{name} must be a tokenizer with vocab_size, bos, eos, pad and sep_token_id, encode and decode, "
            f"got {checks.shown(value)}; try ByteTokenizer()"
        )


def first_token_ids(tokenizer: Tokenizer) -> list[int]:
    """What a text begins with: `bos`, or [] where there is none or the tokenizer says `add_bos_token = False`."""
    puts = getattr(tokenizer, "add_bos_token", True) and tokenizer.bos_token_id is not None
    return [tokenizer.bos_token_id] if puts else []


class ByteTokenizer:
    """Text to UTF-8 bytes and back. Special tokens: sep (between input and target), bos, pad, eos.

    TypeError or ValueError for text or ids that are not such (see the methods).
    """

    vocab_size = 256
    sep_token_id = 0xFC
    bos_token_id = 0xFD
    pad_token_id = 0xFE
    eos_token_id = 0xFF
    special_token_ids = (0xFC, 0xFD, 0xFE, 0xFF)

    def encode(self, text: str) -> np.ndarray:
        """The UTF-8 bytes of `text`, without special tokens.    (length,) int64

        TypeError if it is not a str, ValueError if it holds a lone surrogate, which UTF-8 cannot write.
        """
        data = checks.string("text", text).encode("utf-8")
        return np.frombuffer(data, np.uint8).astype(np.int64)

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of `token_ids` (one axis); special tokens are left out, broken UTF-8 becomes U+FFFD."""
        if isinstance(token_ids, np.ma.MaskedArray):
            raise TypeError(f"token_ids must be an array without a mask, got {checks.shown(token_ids)}")
        try:
            ids = np.asarray(token_ids)
        except (TypeError, ValueError):  # rows of different lengths
            ids = np.empty((0, 0))
        if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
            raise TypeError(f"token_ids must be one row of integers, got {checks.shown(token_ids)}")
        if ids.size and (ids.min() < 0 or ids.max() > 255):
            raise ValueError(f"token_ids must lie in 0 .. 255, got values from {ids.min()} to {ids.max()}")
        return bytes(int(i) for i in ids if i not in self.special_token_ids).decode("utf-8", errors="replace")
