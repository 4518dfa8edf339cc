"""Tokenizers from files, run by the package `tokenizers`: a Hugging Face folder's, or the one inside a GGUF file."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minilora import checks, storage
from minilora.interop.extras import need
from minilora.interop.jsonfile import read_json, write_json
from minilora.interop.sentencepiece import CONTROL, USER_DEFINED, numbers, sentencepiece_bpe

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
CHAT = "chat_template.jinja"

# Kinds of byte-level BPE differ in how text is first cut into words. llama.cpp names the ways (src/llama-vocab.cpp).
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PRE_TYPES = {
    "smollm": (
        r"\p{N}",
        GPT2,
    ),  # digits one by one, and then as GPT-2
    "gpt-2": (GPT2,),
    "llama-bpe": (LLAMA3,),
    "llama3": (LLAMA3,),
    "llama-v3": (LLAMA3,),
}
WHOLE_WORDS_FIRST = ("llama-bpe", "llama3", "llama-v3")  # a word that is in the vocabulary is not merged up from bytes
SPECIAL = ("bos", "eos", "pad", "sep", "unk")


class FileTokenizer:
    """A tokenizer of the package `tokenizers`, as `data.Tokenizer`. `chat_template`: the file's own, in Jinja, or None.
    `add_bos_token`: whether a text begins with `bos`.

    Special tokens are put in by their ids alone (`token_id`): text that spells one is text, so that no input can open
    a new turn of a conversation. Text or ids that are not such raise TypeError or ValueError.
    """

    def __init__(
        self,
        tokenizer: Any,
        special: Mapping[str, int | None],
        chat_template: str | None = None,
        *,
        add_bos_token: bool = True,
    ):
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self.chat_template = chat_template
        self.vocab_size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        self.bos_token_id, self.eos_token_id = special.get("bos"), special.get("eos")
        self.pad_token_id, self.sep_token_id = special.get("pad"), special.get("sep")
        self.add_bos_token = add_bos_token

    def encode(self, text: str) -> np.ndarray:
        """The tokens of `text`, without special tokens.    (length,) int64

        TypeError if it is not a str, ValueError if it holds a lone surrogate.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {checks.shown(text)}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(
                f"text must be valid Unicode, got the lone surrogate {text[error.start]!r} at index {error.start}"
            ) from None
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int64)

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of `token_ids` (one axis), special tokens left out; broken UTF-8 becomes U+FFFD."""
        ids = np.asarray(token_ids)
        if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
            raise TypeError(f"token_ids must be one row of integers, got {checks.shown(token_ids)}")
        if ids.size and (ids.min() < 0 or ids.max() >= self.vocab_size):
            raise ValueError(f"token_ids must lie in 0 .. {self.vocab_size - 1}, got {ids.min()} to {ids.max()}")
        return self._tokenizer.decode(ids.tolist(), skip_special_tokens=True)

    def token_id(self, token: str) -> int | None:
        """The id of one token by its spelling, special ones too ("<|im_start|>"); None if there is no such token."""
        return self._tokenizer.token_to_id(checks.string("token", token))

    def save(self, folder: str | os.PathLike) -> None:
        """Write tokenizer.json, tokenizer_config.json and the chat template: what transformers and `load_tokenizer` read."""
        folder = Path(checks.path("folder", folder))
        names = {name: getattr(self, f"{name}_token_id") for name in SPECIAL[:4]}
        settings: dict[str, Any] = {
            f"{name}_token": self._tokenizer.id_to_token(i) for name, i in names.items() if i is not None
        }
        settings |= {
            "add_bos_token": self.add_bos_token,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
        }
        storage.write_text(folder / TOKENIZER, self._tokenizer.to_str(pretty=True) + "\n")
        write_json(folder / SETTINGS, settings)
        if self.chat_template is not None:
            storage.write_text(folder / CHAT, self.chat_template)


def load_tokenizer(folder: str | os.PathLike) -> FileTokenizer:
    """The tokenizer in a Hugging Face folder: tokenizer.json, and what tokenizer_config.json says of special tokens.

    Raises FileNotFoundError, ImportError where tokenizers is not installed, ValueError for files that cannot be used.
    """
    folder = Path(checks.path("folder", folder))
    if not (folder / TOKENIZER).is_file():
        old = [path.name for path in (folder / "tokenizer.model", folder / "vocab.json") if path.is_file()]
        hint = "check the path"
        if old:
            hint = f"{old[0]} alone is of an older kind; AutoTokenizer.save_pretrained of transformers writes both"
        raise FileNotFoundError(f"{folder / TOKENIZER} is not a file; {hint}")
    library = need("tokenizers", f"reading {TOKENIZER}")
    try:
        tokenizer = library.Tokenizer.from_file(str(folder / TOKENIZER))
    except BaseException as error:
        if not _of_the_library(error):
            raise
        raise ValueError(f"{folder / TOKENIZER} is not a sound tokenizer ({error}); get it again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    settings: dict[str, tuple[Path, Any]] = {}  # what was said last of each, and where
    for path in (folder / "special_tokens_map.json", folder / SETTINGS):
        if path.is_file():
            settings |= {name: (path, value) for name, value in read_json(path).items()}
    nothing = folder / SETTINGS, None
    special = {name: _special(name, *settings.get(f"{name}_token", nothing), tokenizer) for name in SPECIAL}
    origin, chat = settings.get("chat_template", nothing)
    if (folder / CHAT).is_file():
        origin, chat = folder / CHAT, _read_text(folder / CHAT)
    chat = _chat_template(origin, "chat_template", chat)
    by_itself = tokenizer.encode("", add_special_tokens=True).ids[:1] == [special["bos"]]
    puts_bos = _puts_bos(*settings.get("add_bos_token", nothing), by_itself)
    return FileTokenizer(tokenizer, special, chat, add_bos_token=puts_bos)


def gguf_tokenizer(metadata: Mapping[str, Any], origin: str) -> FileTokenizer:
    """The tokenizer in the metadata of a GGUF file: byte-level BPE ("gpt2"), cut into words as its pre-type says, or
    SentencePiece's BPE ("llama").

    ValueError for another model of tokenizer or another pre-type (it is named), and for a vocabulary that does not fit
    together. `origin` is the file's name for messages.
    """
    library = need("tokenizers", f"the tokenizer of {Path(origin).name}")
    model, tokens, kinds = (metadata.get(f"tokenizer.ggml.{name}") for name in ("model", "tokens", "token_type"))
    if not isinstance(model, str) or model not in MODELS:
        raise ValueError(
            f"{origin}: tokenizer.ggml.model must be 'gpt2' (byte-level BPE) or 'llama' (SentencePiece's BPE), "
            f"got {checks.shown(model)}; no other is built here"
        )
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
        raise ValueError(
            f"{origin}: tokenizer.ggml.tokens must be a list of strings, got {checks.shown(tokens)}; get the file again"
        )
    try:
        "".join(tokens).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{origin}: tokenizer.ggml.tokens must be UTF-8; get the file again") from None
    if len(set(tokens)) != len(tokens):
        raise ValueError(f"{origin}: tokenizer.ggml.tokens must all differ")
    listed = numbers(kinds)
    if listed.shape != (len(tokens),) or listed.dtype.kind not in "iu":
        raise ValueError(
            f"{origin}: tokenizer.ggml.token_type must have one entry per token, all of them integers, "
            f"got {checks.shown(kinds)} for {len(tokens)} tokens; get the file again"
        )
    kinds = listed.tolist()
    tokenizer = MODELS[model](library, metadata, tokens, kinds, origin)
    own = [(token, kind) for token, kind in zip(tokens, kinds, strict=True) if kind in (CONTROL, USER_DEFINED)]
    tokenizer.add_special_tokens([library.AddedToken(token, special=True) for token, kind in own if kind == CONTROL])
    tokenizer.add_tokens([library.AddedToken(token) for token, kind in own if kind == USER_DEFINED])
    names = {"bos": "bos", "eos": "eos", "pad": "padding", "sep": "seperator"}  # sic: GGUF's own spelling
    special = {name: metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in names.items()}
    for name, token in special.items():
        whole = isinstance(token, int) and not isinstance(token, bool)
        if token is not None and not (whole and 0 <= token < len(tokens)):
            raise ValueError(
                f"{origin}: the {name} token must lie in 0 .. {len(tokens) - 1}, got {checks.shown(token)}; "
                "get the file again"
            )
    name = "tokenizer.chat_template"
    chat = _chat_template(origin, name, metadata.get(name))
    by_llama_cpp = model == "llama" or metadata.get("tokenizer.ggml.pre") in WHOLE_WORDS_FIRST
    puts_bos = _puts_bos(origin, metadata.get("tokenizer.ggml.add_bos_token"), by_llama_cpp)
    return FileTokenizer(tokenizer, special, chat, add_bos_token=puts_bos)


def _byte_level(library, metadata, tokens, kinds, origin):
    pre, merges = metadata.get("tokenizer.ggml.pre"), metadata.get("tokenizer.ggml.merges")
    if not isinstance(pre, str) or pre not in PRE_TYPES:
        raise ValueError(
            f"{origin}: tokenizer.ggml.pre must be one of {', '.join(PRE_TYPES)}, got {checks.shown(pre)}; "
            "no other is built here"
        )
    if not isinstance(merges, list):
        raise ValueError(
            f"{origin}: tokenizer.ggml.merges must be a list of strings, got {checks.shown(merges)}; get the file again"
        )
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    try:
        bpe = library.models.BPE(
            dict(zip(tokens, range(len(tokens)), strict=True)), pairs, ignore_merges=pre in WHOLE_WORDS_FIRST
        )
    except BaseException as error:
        if not _of_the_library(error):
            raise
        raise ValueError(f"{origin}: tokens and merges do not fit together ({error}); get the file again") from error
    tokenizer = library.Tokenizer(bpe)
    splits = [library.pre_tokenizers.Split(library.Regex(regex), "isolated") for regex in PRE_TYPES[pre]]
    bytes_ = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence([*splits, bytes_])
    tokenizer.decoder = library.decoders.ByteLevel()
    return tokenizer


def _sentencepiece(library, metadata, tokens, kinds, origin):
    prefix = metadata.get("tokenizer.ggml.add_space_prefix", True)
    if not isinstance(prefix, bool):
        raise ValueError(f"{origin}: tokenizer.ggml.add_space_prefix must be true or false, got {checks.shown(prefix)}")
    scores = metadata.get("tokenizer.ggml.scores")
    return sentencepiece_bpe(library, tokens, scores, kinds, origin, space_prefix=prefix)


MODELS = {"gpt2": _byte_level, "llama": _sentencepiece}  # by GGUF's tokenizer.ggml.model


def _puts_bos(origin, says, default):
    """What `origin` says of add_bos_token, or the default where it says nothing."""
    if says is not None and not isinstance(says, bool):
        raise ValueError(f"{origin}: add_bos_token must be true or false, got {checks.shown(says)}; get the file again")
    return default if says is None else says


def _of_the_library(error):
    """Is it what the package `tokenizers` raises for a bad file? An Exception, or a panic in Rust, which is none."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _special(name, origin, token, tokenizer):
    """The id of a special token that the settings file `origin` names as text or as an object with its content."""
    if isinstance(token, dict):
        token = token.get("content")
    if token is None:
        return None
    try:
        token_id = tokenizer.token_to_id(token) if isinstance(token, str) else None
    except UnicodeEncodeError:  # a lone surrogate
        token_id = None
    if token_id is None:
        raise ValueError(f"{origin}: {name}_token must be a token of {TOKENIZER}, got {checks.shown(token)}")
    return token_id


def _chat_template(origin, name, chat):
    """The template of a conversation, None where there is none: text, or the one named "default" in a list of several."""
    if isinstance(chat, list) and all(isinstance(entry, dict) for entry in chat):
        chat = next((entry.get("template") for entry in chat if entry.get("name") == "default"), None)
    try:
        return None if chat is None else checks.string(name, chat, hint="leave it out where there is none")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{origin}: {error}") from error


def _read_text(path):
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}); get it again") from error
