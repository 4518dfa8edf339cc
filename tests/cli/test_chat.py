import io

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


def test_a_system_message_and_sampling(talk):
    plain = talk("Hi!\n", "--temperature", 2, "--seed", 1)
    assert plain == talk("Hi!\n", "--temperature", 2, "--seed", 1)
    assert plain != talk("Hi!\n", "--temperature", 2, "--seed", 2)
    assert talk("Hi!\n", "--system", "Be loud.")[0] == 0


def test_a_model_without_a_chat_template(command, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi!\n"))
    code, _, said = command("chat", "--model", "tiny.npz")
    assert code == 2 and "needs a model with a chat template" in said
