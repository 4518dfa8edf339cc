"""English prose that every Python carries: the language reference in `pydoc_data.topics`.

The topics quote one another, so a plain split would leak: paragraphs are kept once, at their first place, before a
tenth of the sections is held out. A section becomes `bos heading sep body eos`, the layout of the input/target records
that the base is later adapted to.
"""

import hashlib
import re

import numpy as np

from minilora import checks
from minilora.data.tokenizer import ByteTokenizer

# "The "assert" statement" over a line of at least three *, =, - or ~
_HEADING = re.compile(r"^(\S[^\n]*)\n([*=\-~])\2{2,}\n", re.MULTILINE)


def load_topics() -> str:
    """The text of the standard library's `pydoc_data.topics`, its topics sorted by name.

    Raises ValueError where a Python comes without it (some distributions leave the module out).
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise ValueError(
            "this Python has no pydoc_data.topics, the text that the base is trained on; "
            "install a full Python, or use the base that minilora ships (load_base)"
        ) from error
    return "\n".join(topics[name] for name in sorted(topics))


def sha256(text: str) -> str:
    """The SHA-256 of a text in UTF-8, as hexadecimal: which text was it?"""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sections(text: str) -> list[tuple[str, str]]:
    """(heading, body) of each section; a paragraph that came before is left out, and so is what is then empty."""
    marks = list(_HEADING.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    seen, parts = set(), []
    for mark, end in zip(marks, ends, strict=True):
        fresh = []
        for paragraph in re.split(r"\n\s*\n", text[mark.end() : end]):
            key = " ".join(paragraph.split())  # the same words, however they are wrapped
            if key and key not in seen:
                seen.add(key)
                fresh.append(paragraph.strip("\n"))
        if fresh:
            parts.append((mark.group(1), "\n\n".join(fresh)))
    return parts


def split_sections(parts: list[tuple[str, str]], every: int = 10) -> tuple[list, list]:
    """(training sections, held-out sections): every `every`-th is held out, starting with the fifth or so."""
    checks.integer("every", every, low=2)
    held_out = [s for i, s in enumerate(parts) if i % every == every // 2]
    training = [s for i, s in enumerate(parts) if i % every != every // 2]
    return training, held_out


def encode_sections(parts: list[tuple[str, str]], tokenizer: ByteTokenizer) -> np.ndarray:
    """All sections as one row of tokens, each `bos heading sep body eos`.    (length,) uint8"""
    pieces = []
    for heading, body in parts:
        pieces += [
            [tokenizer.bos_token_id],
            tokenizer.encode(heading),
            [tokenizer.sep_token_id],
            tokenizer.encode(body),
            [tokenizer.eos_token_id],
        ]
    return np.concatenate(pieces).astype(np.uint8)
