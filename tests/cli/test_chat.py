import io

import numpy as np
import pytest

from minilora.data import ChatTemplate, Message
from minilora.interop import load_foreign
from minilora.nn import generate


@pytest.fixture
def talk(command, chat_model, monkeypatch):
    """Say lines, and get what the model printed."""

    def run(text, *more):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return command("chat", "--model", "chat.gguf", "--max-new-tokens", 4, *more)

    return run


def answer(opened, messages):
    ids = ChatTemplate("Be kind.").conversation(messages, opened.tokenizer)
    new = generate(opened.model, ids[None], 4, eos_token_id=2)[0, len(ids) :]
    return opened.tokenizer.decode(new)


def test_each_line_is_answered_in_the_light_of_all_before(talk, chat_model):
    code, said, _ = talk("Hi!\n\nAnd now?\n")
    opened = load_foreign(chat_model)
    first = answer(opened, [Message("user", "Hi!")])
    second = answer(opened, [Message("user", "Hi!"), Message("assistant", first), Message("user", "And now?")])
    assert code == 0 and said == f"{first}\n{second}\n"


def test_a_new_conversation_and_the_end(talk, chat_model):
    code, said, _ = talk("Hi!\n/new\nHi!\n/quit\nnever read\n")
    first = answer(load_foreign(chat_model), [Message("user", "Hi!")])
    assert code == 0 and said == f"{first}\n{first}\n"


def test_old_turns_are_left_out_where_there_is_no_room(talk):
    code, said, _ = talk("x" * 40 + "\n" + "y" * 40 + "\n" + "z" * 40 + "\n")
    assert code == 0 and said.count("\n") >= 3
    code, _, said = talk("x" * 200 + "\n")
    assert code == 2 and "leave room for an answer in 150 positions" in said


def test_turns_that_are_left_out_are_counted(talk, monkeypatch):
    monkeypatch.setattr("minilora.cli.chat.stream", lambda *a, **k: iter([np.array([200])]))
    assert talk("Hi!\nYes\n")[2] == ""
    lines = ["Hi!", "Yes", "z" * 100, "No", "Hm."]  # beside the third there is room for nothing else
    code, _, said = talk("".join(line + "\n" for line in lines))
    remarks = [f"(left out the oldest {n} turns, for the model reads at most 150 tokens)" for n in (4, 2)]
    assert code == 0 and said.splitlines() == remarks


@pytest.mark.parametrize("new_tokens", [4, 75, 76, 200, 10**6])
def test_turns_are_kept_however_long_an_answer_may_be(talk, chat_model, monkeypatch, new_tokens):
    read, asked = [], []

    def short_answer(model, token_ids, max_new_tokens, **settings):
        read.append(token_ids[0])
        asked.append(max_new_tokens)
        return iter([np.array([200])] * 3)

    monkeypatch.setattr("minilora.cli.chat.stream", short_answer)
    assert talk("Hi!\nYes\n", "--max-new-tokens", new_tokens)[0] == 0
    tokenizer = load_foreign(chat_model).tokenizer
    said = [Message("user", "Hi!"), Message("assistant", tokenizer.decode([200] * 3)), Message("user", "Yes")]
    assert read[1].tolist() == ChatTemplate("Be kind.").conversation(said, tokenizer).tolist()
    assert asked == [min(new_tokens, 150 - len(ids) + 1) for ids in read]  # the last token is not read


def test_an_answer_ends_with_the_turn_or_the_text(talk, write_chat_model, monkeypatch):
    write_chat_model("other.gguf", eos_token_id=0)
    asked = []
    monkeypatch.setattr("minilora.cli.chat.stream", lambda *a, eos_token_id, **k: asked.append(eos_token_id) or ())
    assert talk("Hi!\n", "--model", "other.gguf")[0] == 0
    assert asked == [[2, 0]]


def test_a_system_message_and_sampling(talk):
    plain = talk("Hi!\n", "--temperature", 2, "--seed", 1)
    assert plain == talk("Hi!\n", "--temperature", 2, "--seed", 1)
    assert plain != talk("Hi!\n", "--temperature", 2, "--seed", 2)
    assert talk("Hi!\n", "--system", "Be loud.")[0] == 0


def test_a_model_without_a_chat_template(command, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi!\n"))
    code, _, said = command("chat", "--model", "tiny.npz")
    assert code == 2 and "needs a model with a chat template" in said
