import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora import Trainer, TrainingConfig, generate
from minilora.data import (
    TASKS,
    ByteTokenizer,
    EpochBatches,
    RandomCrops,
    Record,
    corpus,
    encode_records,
    exact_match,
    load_records,
    split,
)
from minilora.training import answers, evaluate

TOKENIZER = ByteTokenizer()


@given(st.text())
def test_decode_inverts_encode(text):
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert not set(ids.tolist()) & set(TOKENIZER.special_token_ids)


def test_corpus_split_shares_no_paragraph():
    training, held_out = corpus.split_sections(corpus.sections(corpus.load_topics()))
    paragraphs = [
        {" ".join(p.split()) for _, body in part for p in body.split("\n\n")} for part in (training, held_out)
    ]
    assert len(held_out) > 10 and len(training) > 8 * len(held_out)
    assert not paragraphs[0] & paragraphs[1]


def test_sections_keep_a_paragraph_once():
    text = "One\n***\n\nsame words\n\nnew\n\nTwo\n===\n\nsame\nwords\n\nother\n"
    assert corpus.sections(text) == [("One", "same words\n\nnew"), ("Two", "other")]


def test_crops_depend_on_the_step_alone():
    tokens = np.arange(500) % 256
    batches = RandomCrops(tokens, 4, 16, seed=1)
    ids, labels = batches(7)
    np.testing.assert_array_equal(ids, RandomCrops(tokens, 4, 16, seed=1)(7)[0])
    np.testing.assert_array_equal(ids[:, 1:], labels[:, :-1])
    assert not np.array_equal(ids, batches(8)[0])


def test_an_epoch_shows_each_row_once():
    ids = np.arange(30).reshape(10, 3)
    batches = EpochBatches(ids, ids, 5, seed=0)
    seen = np.concatenate([batches(step)[0][:, 0] for step in (4, 5)])
    assert sorted(seen) == list(range(0, 30, 3))
    np.testing.assert_array_equal(batches(4)[0], EpochBatches(ids, ids, 5, seed=0)(4)[0])


def test_encoded_records_count_target_and_eos():
    ids, labels = encode_records([Record("ab", "c"), Record("a", "bcd")], TOKENIZER)
    assert ids.tolist() == [[0xFD, 97, 98, 0xFC, 99, 0xFE], [0xFD, 97, 0xFC, 98, 99, 100]]
    assert labels.tolist() == [[-100, -100, -100, 99, 0xFF, -100], [-100, -100, 98, 99, 100, 0xFF]]


def test_truncation_cuts_the_input_alone():
    records = [Record("abcdef", "xy")]
    with pytest.raises(ValueError, match="truncation=True"):
        encode_records(records, TOKENIZER, max_length=7)
    ids, labels = encode_records(records, TOKENIZER, max_length=7, truncation=True)
    assert ids.shape[1] == 7
    assert TOKENIZER.decode(ids[0]) == "defxy"
    assert TOKENIZER.decode(labels[0][labels[0] >= 0]) == "xy"


def test_exact_match_is_what_greedy_decoding_finds(make_model, rng):
    model = make_model(vocab_size=256)
    ids = rng.integers(97, 123, (6, 4))
    continued = generate(model, ids, 3)
    continued[::2, -1] = (continued[::2, -1] + 1) % 256  # every second answer is made wrong
    labels = np.full((6, 6), -100)
    labels[:, 3:] = continued[:, 4:]
    logits, _ = model(continued[:, :-1])
    assert exact_match(logits, labels) == 0.5


def test_answers_agree_with_the_exact_match(make_model):
    model = make_model(vocab_size=256, max_position_embeddings=64, tie_word_embeddings=False)
    records = [Record(a, b) for a, b in [("one", "1"), ("two", "22"), ("three", "333"), ("four", "4")]]
    rows = encode_records(records, TOKENIZER)
    before = evaluate(model, *rows)
    Trainer(model, TrainingConfig(max_steps=60, learning_rate=0.02), EpochBatches(*rows, 4, seed=0)).train()
    after = evaluate(model, *rows)
    said = answers(model, [r.input for r in records], TOKENIZER, max_new_tokens=6)
    assert after["loss"] < before["loss"] and before["exact"] == 0
    assert after["exact"] == np.mean([a == r.target for a, r in zip(said, records, strict=True)]) > 0


@pytest.mark.parametrize("inputs", ["one text", []])
def test_answers_want_a_list_of_texts(make_model, inputs):
    with pytest.raises(ValueError, match="inputs must be a list"):
        answers(make_model(vocab_size=256), inputs, TOKENIZER)


@pytest.mark.parametrize("task", TASKS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_held_out_inputs_are_new(task, seed):
    training, held_out = split(task, 300, 100, seed=seed)
    inputs = [r.input for r in training + held_out]
    assert (len(training), len(held_out), len(set(inputs))) == (300, 100, 400)
    assert split(task, 300, 100, seed=seed) == (training, held_out)


def test_tasks_say_what_they_mean():
    values = dict(zip("IVXLCDM", (1, 5, 10, 50, 100, 500, 1000), strict=True))
    for numeral, target in split("roman", 500, 1, seed=0)[0]:
        letters = [values[letter] for letter in numeral]  # a letter before a larger one counts against it
        assert sum(-v if v < max(letters[i:]) else v for i, v in enumerate(letters)) == int(target)
        assert not re.search(r"IIII|XXXX|CCCC|VV|LL|DD", numeral)
    iso = [r.target for r in split("dates", 200, 1, seed=0)[0]]
    assert all(len(t) == 10 and "1900-01-01" <= t <= "2099-12-31" for t in iso)


def test_records_from_files(tmp_path):
    lines = tmp_path / "a.jsonl"
    lines.write_text('\ufeff{"input": "a", "target": "b"}\n\n{"input": "c", "target": "d"}\n', encoding="utf-8")
    table = tmp_path / "a.csv"
    table.write_text('input,target\na,b\n"c",d\n')
    assert load_records(lines) == load_records(table) == [Record("a", "b"), Record("c", "d")]


@pytest.mark.parametrize("line", ['{"input": "a"}', '{"input": "a", "target": 3}', "[1]", "{oops"])
def test_a_bad_line_is_named(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"input": "a", "target": "b"}) + "\n" + line + "\n")
    with pytest.raises(ValueError, match="line 2"):
        load_records(path)
