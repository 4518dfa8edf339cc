import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.cli.generate import pieces
from minilora.data import ByteTokenizer
from minilora.interop import load_foreign
from minilora.nn.files import load_model
from minilora.training import answers

TOKENIZER = ByteTokenizer()


def test_it_says_what_answers_says(command):
    model, _ = load_model("tiny.npz")
    code, said, _ = command("generate", "--model", "tiny.npz", "--prompt", "1 plus 1", "--max-new-tokens", 8)
    assert code == 0 and said.rstrip("\n") == answers(model, ["1 plus 1"], TOKENIZER, max_new_tokens=8)[0]


def test_json_and_sampling_repeat_by_seed(command):
    ask = (
        "generate",
        "--model",
        "tiny.npz",
        "--prompt",
        "1 plus",
        "--temperature",
        1,
        "--top-k",
        50,
        "--top-p",
        0.9,
        "--json",
    )
    one, two, other = (json.loads(command(*ask, "--seed", seed)[1]) for seed in (0, 0, 1))
    assert one["text"] == two["text"] != other["text"]
    assert one["prompt"] == "1 plus" and one["tokens"] <= 57  # 64 positions, 8 of them taken, and the last is not read


def test_the_prompt_may_come_from_stdin(command, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("1 plus 1\n"))
    code, said, _ = command("generate", "--model", "tiny.npz", "--prompt", "-", "--json")
    assert code == 0 and json.loads(said)["prompt"] == "1 plus 1"


def test_plain_text_goes_on_without_a_separator(command):
    answer = command("generate", "--model", "tiny.npz", "--prompt", "ab", "--max-new-tokens", 5)[1]
    plain = command("generate", "--model", "tiny.npz", "--prompt", "ab", "--max-new-tokens", 5, "--plain")[1]
    assert answer != plain


def test_tokens_are_shown_as_they_come(command, monkeypatch):
    """Each piece is printed before the next token is asked for."""
    events = []
    monkeypatch.setattr("minilora.cli.generate.stream", lambda *a, **k: iter_tokens(events))
    monkeypatch.setattr("builtins.print", lambda *a, **k: events.append(a[0] if a else "end"))
    command("generate", "--model", "tiny.npz", "--prompt", "x")
    assert events == ["asked", "a", "asked", "asked", "é", "end"]


def iter_tokens(events):
    import numpy as np

    for token in (97, 0xC3, 0xA9):
        events.append("asked")
        yield np.array([token])


@given(st.text())
def test_pieces_make_the_text_and_no_half_characters(text):
    given = list(pieces(TOKENIZER.encode(text).tolist(), TOKENIZER))
    assert "".join(given) == text
    assert len(given) <= len(text)


def test_broken_bytes_are_shown_at_the_end():
    assert list(pieces([97, 0xC3], TOKENIZER)) == ["a", "\ufffd"]
    assert "".join(pieces([97, 0xC3, 98], TOKENIZER)) == "a\ufffdb"


@pytest.mark.parametrize(
    ("how", "ends"),
    [(("--chat",), [2, 0]), ((), [2, 0]), (("--plain",), 0)],  # the end of the turn, the end of the text
)
def test_an_answer_ends_where_its_layout_says(command, write_chat_model, monkeypatch, how, ends):
    write_chat_model("other.gguf", eos_token_id=0)
    asked = []
    monkeypatch.setattr("minilora.cli.generate.stream", lambda *a, eos_token_id, **k: asked.append(eos_token_id) or ())
    assert command("generate", "--model", "other.gguf", "--prompt", "Hi!", *how)[0] == 0
    assert asked == [ends]


@pytest.mark.parametrize(("add_bos_token", "first"), [(False, []), (True, [1]), (None, [])])
def test_plain_text_begins_as_the_file_says(command, write_chat_model, monkeypatch, add_bos_token, first):
    path, read = write_chat_model("other.gguf", add_bos_token=add_bos_token), []
    monkeypatch.setattr("minilora.cli.generate.stream", lambda model, ids, *a, **k: read.append(ids[0].tolist()) or ())
    assert command("generate", "--model", "other.gguf", "--prompt", "Hi!", "--plain")[0] == 0
    assert read == [first + load_foreign(path).tokenizer.encode("Hi!").tolist()]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--top-k", 3), "top_k and top_p need a temperature above 0"),
        (("--max-new-tokens", 0), "max_new_tokens must be between 1 and 64, got 0"),
        (("--max-new-tokens", 99), "max_new_tokens must be between 1 and 64, got 99"),
        (("--prompt", "x" * 80), "max_position_embeddings = 64"),
        (("--temperature", -1), "temperature must be at least 0"),
        (("--model", "tiny.gguf"), "tiny.gguf"),
    ],
)
def test_errors_that_a_user_meets(command, change, named):
    code, _, said = command("generate", "--model", "tiny.npz", "--prompt", "x", *change)
    assert code == 2 and named in said and said.count("\n") == 1
