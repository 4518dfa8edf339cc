"""How input and target are joined: a pattern such as "{bos}{input}{sep}{target}{eos}"."""

import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from minilora import checks
from minilora.data.tokenizer import Tokenizer, check_tokenizer, first_token_ids

SPECIAL = ("bos", "sep", "eos")
_FIELD = re.compile(r"\{(\w+)\}")


@runtime_checkable
class Layout(Protocol):
    """How an (input, target) pair becomes tokens: `Template` by a pattern, `ChatTemplate` as a turn of a conversation."""

    def encode(self, record: tuple[str, str], tokenizer: Tokenizer, *, cut: int = 0) -> tuple[np.ndarray, int]:
        """(ids, first_counted): the tokens of the pair, and where in them the target starts. `cut`: how many tokens the
        input loses at its start."""

    def prompt(self, text: str, tokenizer: Tokenizer) -> np.ndarray:
        """The tokens after which the model has to say the target of the input `text`.    (length,) int64"""

    def end_token_ids(self, tokenizer: Tokenizer) -> list[int]:
        """The tokens that end an answer, the one that is trained first; [] where nothing does."""


@dataclass(frozen=True)
class Template:
    """A layout of one example. `{input}` and `{target}` are its texts; `{bos}`, `{sep}` and `{eos}` the tokenizer's
    special tokens; everything else is text that stands in each example.

    The loss counts what follows the start of `{target}`: the target, and the end token after it, which a model must
    learn or it never stops. Each piece is encoded by itself, so the border between input and target is a border between
    tokens. ValueError for a pattern without `{target}`, with `{input}` behind it, or with a field that does not exist.
    """

    pattern: str = "{bos}{input}{sep}{target}{eos}"

    def __post_init__(self):
        object.__setattr__(self, "pattern", checks.string("pattern", self.pattern, hint=f"try {Template.pattern!r}"))
        fields = _FIELD.findall(self.pattern)
        if unknown := set(fields) - {"input", "target", *SPECIAL}:
            raise ValueError(
                f"pattern may hold {{input}}, {{target}}, {{bos}}, {{sep}} and {{eos}}, got {sorted(unknown)} "
                f"in {self.pattern!r}"
            )
        if fields.count("target") != 1 or fields.count("input") > 1 or "input" in fields[fields.index("target") :]:
            raise ValueError(
                f"pattern must hold {{target}} once, and {{input}} at most once and before it, got {self.pattern!r}"
            )

    @classmethod
    def suited_to(cls, tokenizer: Tokenizer) -> "Template":
        """The layout for a tokenizer: a line break where it has no `sep`, nothing where it has no `eos`, or puts no `bos`."""
        check_tokenizer("tokenizer", tokenizer)
        bos = bool(first_token_ids(tokenizer))
        sep, eos = (getattr(tokenizer, f"{name}_token_id") is not None for name in ("sep", "eos"))
        return cls(f"{'{bos}' * bos}{{input}}{'{sep}' if sep else chr(10)}{{target}}{'{eos}' * eos}")

    def encode(self, record: tuple[str, str], tokenizer: Tokenizer, *, cut: int = 0) -> tuple[np.ndarray, int]:
        """(ids, first_counted): the tokens of an (input, target) pair, and where in them the target starts.

        `cut`: how many tokens the input loses at its start; the target is never cut. ValueError if the input has fewer.
        """
        pieces = self._encode(record, tokenizer, cut)
        target = self._kinds.index("target")
        return np.concatenate(pieces), sum(len(piece) for piece in pieces[:target])

    def prompt(self, text: str, tokenizer: Tokenizer) -> np.ndarray:
        """The tokens after which the model has to say the target of the input `text`.    (length,) int64"""
        ids, first_counted = self.encode((text, ""), tokenizer)
        return ids[:first_counted]

    def end_token_ids(self, tokenizer: Tokenizer) -> list[int]:
        """The tokenizer's `eos`, if it has one."""
        check_tokenizer("tokenizer", tokenizer)
        return [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]

    @property
    def _kinds(self):
        """What each piece is, in order: "text" at even places of the split pattern, a field at odd ones."""
        return [name if i % 2 else "text" for i, name in enumerate(_FIELD.split(self.pattern))]

    def _encode(self, record, tokenizer, cut):
        if not isinstance(record, (tuple, list)) or len(record) != 2:
            raise TypeError(f"record must be an (input, target) pair of str, got {checks.shown(record)}")
        check_tokenizer("tokenizer", tokenizer)
        given, target = (checks.string("record", text) for text in record)
        pieces = []
        for kind, text in zip(self._kinds, _FIELD.split(self.pattern), strict=True):
            if kind in SPECIAL:
                pieces.append(np.array([self._special(kind, tokenizer)], np.int64))
                continue
            ids = tokenizer.encode({"text": text, "input": given, "target": target}[kind])
            if kind == "input":
                checks.integer("cut", cut, low=0, high=len(ids), hint="the input has no more tokens to lose")
                ids = ids[cut:]
            pieces.append(ids)
        return pieces

    def _special(self, name, tokenizer):
        token = getattr(tokenizer, f"{name}_token_id")
        if token is None:
            raise ValueError(
                f"template {self.pattern!r} uses {{{name}}}, but the tokenizer has no {name} token; "
                "leave it out or write text in its place"
            )
        return token
