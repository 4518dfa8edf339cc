"""SentencePiece's BPE out of a GGUF file: the tokens that llama.cpp's way of merging gives."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

tokenizers = pytest.importorskip("tokenizers")

from minilora.interop import load_gguf, load_tokenizer  # noqa: E402
from minilora.interop.tokenizer import gguf_tokenizer  # noqa: E402

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "the tokens that the tokenizer takes",
    "In 1984 there were 12345 people, 007 and 3.14159",
    "  two  spaces   and a tab\t.\n\nnew\r\nlines  \n ",
    "été naïve Straße 日本語 😀",
    "def test_x(x):\n    return x[0]**2  # 100%\n",
    "<s>user</s> ▁ <0x41> <unk>",
]
BYTES = [f"<0x{i:02X}>" for i in range(256)]


@pytest.fixture(scope="module")
def vocabulary():
    """(tokens, scores, kinds) as Llama 2 has them: unknown, control, bytes, and then pieces whose score falls with their rank.

    The pieces are the commonest of a text's substrings within words, so that one token can be cut in many ways.
    """
    words = re.findall(r"\S+", Path(__file__).read_text(encoding="utf-8"))
    pieces = Counter()
    for word in ("▁" + word for word in words):
        pieces.update(word[i:j] for i in range(len(word)) for j in range(i + 2, min(len(word), i + 8) + 1))
    characters = sorted({c for word in words for c in word if ord(c) < 128} | {"▁"})
    ranked = [piece for piece, _ in pieces.most_common(400) if all(c in characters for c in piece)]
    tokens = ["<unk>", "<s>", "</s>", *BYTES, *ranked, *characters]
    scores = np.array([0.0] * 259 + [-float(i) for i in range(len(tokens) - 259)], np.float32)
    return tokens, scores, np.array([2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259))


def metadata(vocabulary, **changes):
    tokens, scores, kinds = vocabulary
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    } | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}


def merged_by_score(text, vocabulary):
    """The definition: the neighbors whose union has the highest score are merged, the leftmost of equals first."""
    tokens, scores, kinds = vocabulary
    score = {token: scores[i] for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind == 1}
    pieces = list(text.replace(" ", "▁"))
    while True:
        pairs = [(-score[a + b], i) for i, (a, b) in enumerate(zip(pieces, pieces[1:], strict=False)) if a + b in score]
        if not pairs:
            break
        _, i = min(pairs)
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
    ids = {token: i for i, token in enumerate(tokens)}
    return [i for piece in pieces for i in ([ids[piece]] if piece in score else [3 + b for b in piece.encode()])]


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_merging_by_score(vocabulary, text, prefix):
    ours = gguf_tokenizer(metadata(vocabulary, add_space_prefix=prefix), "file.gguf")
    assert ours.encode(text).tolist() == merged_by_score((" " if prefix and text else "") + text, vocabulary)
    assert ours.decode(ours.encode(text)) == text.replace("▁", " ")


def test_a_space_comes_first_unless_the_file_says_otherwise(vocabulary):
    plain, without = (
        gguf_tokenizer(metadata(vocabulary, **changes), "file.gguf") for changes in ({}, {"add_space_prefix": False})
    )
    assert plain.encode("the").tolist() == without.encode(" the").tolist() != without.encode("the").tolist()
    assert (
        plain.add_bos_token
        and plain.bos_token_id == 1
        and plain.eos_token_id == 2
        and plain.vocab_size == len(vocabulary[0])
    )
    assert plain.decode([1, *plain.encode("the"), 2]) == "the"


def test_a_folder_there_and_back(vocabulary, tmp_path):
    ours = gguf_tokenizer(metadata(vocabulary), "file.gguf")
    ours.save(tmp_path)
    again = load_tokenizer(tmp_path)
    for text in TEXTS:
        assert again.encode(text).tolist() == ours.encode(text).tolist()
        assert again.decode(again.encode(text)) == ours.decode(ours.encode(text))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": None}, "scores must have one finite number per token"),
        ({"scores": np.zeros(3)}, "scores must have one finite number"),
        ({"scores": "all"}, "scores must have one finite number"),
        ({"add_space_prefix": 3}, "add_space_prefix must be true or false, got 3"),
    ],
)
def test_what_does_not_fit_is_named(vocabulary, changes, message):
    with pytest.raises(ValueError, match=f"file.gguf: .*{message}"):
        gguf_tokenizer(metadata(vocabulary, **changes), "file.gguf")


def test_a_model_with_such_a_tokenizer(hostile, tmp_path):
    hostile.write_sentencepiece(tmp_path)
    model, tokenizer = load_gguf(tmp_path / "sentencepiece.gguf")
    ids = tokenizer.encode("A!!B")
    assert ids.max() < model.config.vocab_size and tokenizer.decode(ids) == "A!!B" and len(ids) == 3


def test_infinite_scores_and_endless_tokens_are_refused(vocabulary):
    tokens, scores, kinds = vocabulary
    with pytest.raises(ValueError, match="one finite number"):
        gguf_tokenizer(metadata(vocabulary, scores=np.full_like(scores, np.inf)), "file.gguf")
    with pytest.raises(ValueError, match="at most 512 characters, got one of 10000"):
        gguf_tokenizer(metadata((["x" * 10**4, *tokens[1:]], scores, kinds)), "file.gguf")


def test_tokens_that_are_not_utf8_are_refused(vocabulary):
    tokens, scores, kinds = vocabulary
    with pytest.raises(ValueError, match=r"x\.gguf: tokenizer\.ggml\.tokens must be UTF-8"):
        gguf_tokenizer(metadata((["\udc80", *tokens[1:]], scores, kinds)), "x.gguf")
