"""One way in for foreign models: a folder or a GGUF file becomes a model, its tokenizer and its chat template."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilora import checks
from minilora.data.chat import ChatTemplate, UnknownTemplate
from minilora.data.template import Template
from minilora.interop.gguf_llama import load_gguf
from minilora.interop.huggingface import load_llama
from minilora.interop.tokenizer import FileTokenizer, load_tokenizer
from minilora.nn import Llama


class ForeignModel(NamedTuple):
    """What a folder or a GGUF file holds. The template is the file's own; `Template.suited_to` where it has none."""

    model: Llama
    tokenizer: FileTokenizer
    template: Template | ChatTemplate | UnknownTemplate


def is_foreign(path: str | os.PathLike) -> bool:
    """Is this a Hugging Face folder (one with a config.json) or a GGUF file?

    TypeError or ValueError for what is not a path.
    """
    path = Path(checks.path("path", path))
    return path.suffix.lower() == ".gguf" or (path / "config.json").is_file()


def load_foreign(
    path: str | os.PathLike,
    dtype: np.dtype | type = np.float32,
    quantize: str | Mapping[str, Any] | None = None,
) -> ForeignModel:
    """The model, tokenizer and template of a Hugging Face folder or a GGUF file; arguments as of `load_llama`
    and `load_gguf`, and it raises what they raise. A chat template that is not built here is an error when it is used, not before."""
    if Path(checks.path("path", path)).suffix.lower() == ".gguf":
        model, tokenizer = load_gguf(path, dtype, quantize)
    else:
        tokenizer = load_tokenizer(path)
        model = load_llama(path, dtype, quantize)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"{path} has {tokenizer.vocab_size} tokens for a model of {model.config.vocab_size}; get it again"
        )
    if tokenizer.chat_template is None:
        return ForeignModel(model, tokenizer, Template.suited_to(tokenizer))
    template = ChatTemplate.from_jinja(tokenizer.chat_template)
    return ForeignModel(model, tokenizer, template or UnknownTemplate(str(path)))
