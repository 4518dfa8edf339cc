import numpy as np
import pytest

from minilora import Trainer, TrainingConfig, generate
from minilora.data import ByteTokenizer, ChatTemplate, EpochBatches, Record, Template, encode_records
from minilora.training import answers, evaluate, exact_match

TOKENIZER = ByteTokenizer()


def test_exact_match_is_what_greedy_decoding_finds(make_model, rng):
    model = make_model(vocab_size=256)
    ids = rng.integers(97, 123, (6, 4))
    continued = generate(model, ids, 3)
    continued[::2, -1] = (continued[::2, -1] + 1) % 256  # every second answer is made wrong
    labels = np.full((6, 6), -100)
    labels[:, 3:] = continued[:, 4:]
    logits, _ = model(continued[:, :-1])
    assert exact_match(logits, labels) == 0.5


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_the_batch_size_does_not_matter(make_model, rng, batch_size):
    model = make_model()
    ids, labels = rng.integers(0, 37, (5, 8)), np.full((5, 8), -100)
    for row, width in enumerate((8, 2, 5, 1, 3)):  # rows count unequally: a mean of batch means would differ
        labels[row, :width] = rng.integers(0, 37, width)
    labels[3, 0] = np.argmax(model(ids)[0][3, 0])  # one row is right
    scores = evaluate(model, ids, labels, batch_size=batch_size)
    np.testing.assert_allclose(scores["loss"], model.loss(ids, labels)[0], rtol=1e-12)
    assert scores["exact"] == exact_match(model(ids)[0], labels) == 0.2


def test_one_forward_gives_both(make_model, rng, monkeypatch):
    model = make_model()
    ids = rng.integers(0, 37, (6, 4))
    calls = []
    forward = type(model).__call__
    monkeypatch.setattr(type(model), "__call__", lambda self, *a, **k: calls.append(1) or forward(self, *a, **k))
    evaluate(model, ids, ids, batch_size=2)
    assert len(calls) == 3


def test_answers_agree_with_the_exact_match(make_model):
    model = make_model(vocab_size=256, max_position_embeddings=64, tie_word_embeddings=False)
    records = [Record(a, b) for a, b in [("one", "1"), ("two", "22"), ("three", "333"), ("four", "4")]]
    template = Template("{bos}{input} is {target}{eos}")
    rows = encode_records(records, TOKENIZER, template=template)
    before = evaluate(model, *rows)
    Trainer(model, TrainingConfig(max_steps=60, learning_rate=0.02), EpochBatches(*rows, 4, seed=0)).train()
    after = evaluate(model, *rows)
    said = answers(model, [r.input for r in records], TOKENIZER, template=template, max_new_tokens=6)
    assert after["loss"] < before["loss"] and before["exact"] == 0
    assert after["exact"] == np.mean([a == r.target for a, r in zip(said, records, strict=True)]) > 0


class Chatty(ByteTokenizer):
    """Bytes, and the two marks of ChatML; the end of a turn is not eos."""

    vocab_size = 258

    def token_id(self, token):
        return {"<|im_start|>": 256, "<|im_end|>": 257}.get(token)

    def decode(self, token_ids):
        return super().decode([i for i in token_ids if i < 256])


def test_an_answer_ends_with_the_turn_that_was_trained(make_model):
    model, template, tokenizer = make_model(vocab_size=258, max_position_embeddings=64), ChatTemplate(), Chatty()
    records = [Record("one", "1"), Record("two", "22")]
    rows = encode_records(records, tokenizer, template=template)
    Trainer(model, TrainingConfig(max_steps=40, learning_rate=0.02), EpochBatches(*rows, 2, seed=0)).train()
    assert evaluate(model, *rows)["exact"] == 1
    said = answers(model, [r.input for r in records], tokenizer, template=template, max_new_tokens=8)
    assert said == [r.target for r in records]


@pytest.mark.parametrize("inputs", ["one text", []])
def test_answers_want_a_list_of_texts(make_model, inputs):
    with pytest.raises((TypeError, ValueError), match="inputs must be a list"):
        answers(make_model(vocab_size=256), inputs, TOKENIZER)


def test_bad_input_is_named(make_model):
    model, ids = make_model(), np.ones((2, 3), int)
    labels = np.array([[1, 2, 3], [-100, -100, -100]])
    with pytest.raises(ValueError, match="got only -100 in row 1"):
        evaluate(model, ids, labels)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        evaluate(model, ids, ids, batch_size=0)
    with pytest.raises(ValueError, match=r"logits must have 3 axes, got an array of shape \(2, 3\)"):
        exact_match(np.ones((2, 3)), ids)
    with pytest.raises(ValueError, match=r"labels must be integers of shape \(2, 3\)"):
        exact_match(np.ones((2, 3, 4)), ids[:1])


def test_a_large_vocabulary_goes_in_smaller_batches(make_model, rng, monkeypatch):
    model = make_model()
    ids = rng.integers(0, 37, (6, 4))
    whole, sizes = evaluate(model, ids, ids), []
    forward = type(model).__call__
    monkeypatch.setattr(type(model), "__call__", lambda self, t, **k: sizes.append(len(t)) or forward(self, t, **k))
    monkeypatch.setattr("minilora.training.evaluation.LOGITS", 2 * 4 * 37)
    assert evaluate(model, ids, ids) == pytest.approx(whole)
    assert sizes == [2, 2, 2]
