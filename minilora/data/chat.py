"""Conversations as tokens: ChatML, and whether the chat template of a file says just that.

ChatML puts each turn between two special tokens:

    <|im_start|>system
    You are a helpful AI assistant.<|im_end|>
    <|im_start|>user
    What is the capital of France?<|im_end|>
    <|im_start|>assistant
    Paris.<|im_end|>
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minilora import checks
from minilora.data.tokenizer import Tokenizer

START, END = "<|im_start|>", "<|im_end|>"
ROLES = ("system", "user", "assistant")
NAME = "chatml"  # how a template's `pattern` begins; a default system message follows behind a colon


class Message(NamedTuple):
    """One turn: who speaks ("system", "user" or "assistant"), and what."""

    role: str
    content: str


@dataclass(frozen=True)
class ChatTemplate:
    """ChatML as a layout of examples: the input is what the user says, the target what the assistant answers.

    `system`: the message that a conversation begins with unless it brings its own; None for no such message. The special
    tokens go in by their ids: a text that spells one is text. The loss counts the answer and the end of the turn.
    Raises ValueError or TypeError for a system message that is not text, or a tokenizer without the two special tokens.
    """

    system: str | None = None

    def __post_init__(self):
        if self.system is not None:
            checks.string("system", self.system)

    @property
    def pattern(self) -> str:
        """The template as one string, from which `from_pattern` makes it again."""
        return NAME if self.system is None else f"{NAME}:{self.system}"

    @classmethod
    def from_pattern(cls, pattern: str) -> "ChatTemplate | None":
        """The template whose `pattern` this is; None if it is another kind's."""
        name, colon, system = pattern.partition(":")
        if name != NAME:
            return None
        return cls(system if colon else None)

    @classmethod
    def from_jinja(cls, source: str) -> "ChatTemplate | None":
        """ChatML with the default system message that `source`, a file's chat template in Jinja, puts in; None if the
        source does anything else."""
        # Strings lose their line breaks here along with the rest of the space, but not the message that is looked for.
        known = re.fullmatch(_CHATML, re.sub(r"\s|\\n", "", source))
        if known is None:
            return None
        if known["system"] is None:
            return cls()
        message = re.search(r"<\|im_start\|>system(?:\\n|\n)(.*?)<\|im_end\|>", source, re.DOTALL)
        return cls(message[1].replace("\\n", "\n").replace("\\'", "'"))

    def encode(self, record: tuple[str, str], tokenizer: Tokenizer, *, cut: int = 0) -> tuple[np.ndarray, int]:
        """(ids, first_counted): the tokens of an (input, target) pair as one exchange, and where in them the target starts.

        `cut`: how many tokens the input loses at its start; the target is never cut. ValueError if the input has fewer.
        """
        given, target = record
        prompt = self._prompt([Message("user", given)], tokenizer, cut)
        _, end = _marks(tokenizer)
        return np.concatenate([prompt, tokenizer.encode(target), [end]]), len(prompt)

    def prompt(self, text: str, tokenizer: Tokenizer) -> np.ndarray:
        """The tokens after which the assistant answers what the user said.    (length,) int64"""
        return self._prompt([Message("user", text)], tokenizer, 0)

    def end_token_ids(self, tokenizer: Tokenizer) -> list[int]:
        """The tokens that end an answer: of the turn, and of all text, which need not be the same."""
        _, end = _marks(tokenizer)
        return list(dict.fromkeys(token for token in (end, tokenizer.eos_token_id) if token is not None))

    def conversation(self, messages: Sequence[Message], tokenizer: Tokenizer) -> np.ndarray:
        """The tokens of a conversation so far, after which the assistant speaks.    (length,) int64

        ValueError for an unknown role, or a system message that is not the first.
        """
        if not messages:
            raise ValueError("messages must hold at least one message, got none")
        for i, (role, content) in enumerate(messages):
            checks.one_of(f"messages[{i}].role", role, ROLES)
            checks.string(f"messages[{i}].content", content)
            if role == "system" and i:
                raise ValueError(f"messages[{i}].role must not be 'system': only the first message may")
        return self._prompt(list(messages), tokenizer, 0)

    def _prompt(self, messages, tokenizer, cut):
        start, end = _marks(tokenizer)
        line_break = tokenizer.encode("\n")
        if self.system is not None and messages[0][0] != "system":
            messages = [Message("system", self.system), *messages]
        pieces = []
        for role, content in messages:
            said = tokenizer.encode(f"{role}\n{content}")
            if cut and role == "user":
                given = tokenizer.encode(content)
                checks.integer("cut", cut, low=0, high=len(given), hint="the input has no more tokens to lose")
                said = np.concatenate([tokenizer.encode(f"{role}\n"), given[cut:]])
            pieces += [[start], said, [end], line_break]
        return np.concatenate([*pieces, [start], tokenizer.encode("assistant\n")]).astype(np.int64)


@dataclass(frozen=True)
class UnknownTemplate:
    """A chat template that is not built here. It can be carried along, but not used: then ValueError."""

    origin: str

    @property
    def pattern(self) -> str:
        return self._refuse()

    def encode(self, record: tuple[str, str], tokenizer: Tokenizer, *, cut: int = 0) -> tuple[np.ndarray, int]:
        """ValueError."""
        return self._refuse()

    def prompt(self, text: str, tokenizer: Tokenizer) -> np.ndarray:
        """ValueError."""
        return self._refuse()

    def end_token_ids(self, tokenizer: Tokenizer) -> list[int]:
        """ValueError."""
        return self._refuse()

    def _refuse(self):
        raise ValueError(
            f"the chat template of {self.origin} is not ChatML, and no other is built here; give a template of your own, "
            "such as '{input}\\n{target}{eos}'"
        )


def _marks(tokenizer):
    """The ids of the two special tokens."""
    ids = [tokenizer.token_id(token) if hasattr(tokenizer, "token_id") else None for token in (START, END)]
    if None in ids:
        raise ValueError(f"a chat template needs a tokenizer with the tokens {START} and {END}, got one without")
    return ids


def _literal(text):
    return re.escape(re.sub(r"\s", "", text))


# What is recognized, without white space: the default system message is optional, and so is what some put before.
_CHATML = (
    "(?:"
    + _literal("{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}")
    + ")?"
    + _literal("{% for message in messages %}")
    + "(?P<system>"
    + _literal("{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system")
    + r"(?:(?!<\|im_).)*"
    + _literal("<|im_end|>' }}{% endif %}")
    + ")?"
    + _literal("{{'<|im_start|>' + message['role'] + '' + message['content'] + '<|im_end|>' + ''}}{% endfor %}")
    + _literal("{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}")
)
