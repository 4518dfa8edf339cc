import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.data import ByteTokenizer, Record, Template, encode, encode_records, encode_text

TOKENIZER = ByteTokenizer()


def test_encoded_records_count_target_and_eos():
    ids, labels = encode_records([Record("ab", "c"), Record("a", "bcd")], TOKENIZER)
    assert ids.tolist() == [[0xFD, 97, 98, 0xFC, 99, 0xFE], [0xFD, 97, 0xFC, 98, 99, 100]]
    assert labels.tolist() == [[-100, -100, -100, 99, 0xFF, -100], [-100, -100, 98, 99, 100, 0xFF]]


def test_everything_counts_by_choice():
    ids, labels = encode_records([Record("ab", "c"), Record("a", "b")], TOKENIZER, completion_only_loss=False)
    assert labels.tolist() == [[97, 98, 0xFC, 99, 0xFF], [97, 0xFC, 98, 0xFF, -100]]
    np.testing.assert_array_equal(ids[:, 1:][labels[:, :-1] != -100][:4], labels[0, :4])


def test_the_template_decides():
    ids, labels = encode_records([("a", "b")], TOKENIZER, template=Template("{input}={target}"))
    assert ids.tolist() == [[97, ord("=")]] and labels.tolist() == [[-100, 98]]


def test_a_target_at_the_very_start_counts_from_its_second_token():
    ids, labels = encode_records([("", "abc")], TOKENIZER, template=Template("{target}"))
    assert ids.tolist() == [[97, 98]] and labels.tolist() == [[98, 99]]


def test_truncation_cuts_the_input_alone():
    records = [Record("abcdef", "xy")]
    with pytest.raises(ValueError, match=r"records\[0\] needs 10 tokens, more than max_length = 7.*truncation=True"):
        encode_records(records, TOKENIZER, max_length=7)
    ids, labels = encode_records(records, TOKENIZER, max_length=7, truncation=True)
    assert ids.shape[1] == 7
    assert TOKENIZER.decode(ids[0]) == "defxy"
    assert TOKENIZER.decode(labels[0][labels[0] >= 0]) == "xy"


def test_a_target_that_does_not_fit_is_an_error_or_dropped_with_its_place():
    records = [Record("a", "b"), Record("abcdef", "xy"), Record("a", "too long a target")]
    with pytest.raises(ValueError, match=r"records\[2\] needs 20 tokens.*shorten its target"):
        encode_records(records, TOKENIZER, max_length=7, truncation=True)
    encoded = encode(records, TOKENIZER, max_length=7, truncation="drop")
    assert (encoded.kept, encoded.cut, encoded.dropped) == ([0, 1], [1], [2])
    assert len(encoded.token_ids) == 2
    with pytest.raises(ValueError, match="every record was dropped"):
        encode(records[2:], TOKENIZER, max_length=7, truncation="drop")


def test_a_text_has_no_bos_where_the_tokenizer_puts_none():
    tokenizer = ByteTokenizer()
    tokenizer.add_bos_token = False
    ids, labels = encode_text(["ab"], tokenizer)
    assert ids.tolist() == [[97, 98]] and labels.tolist() == [[98, 0xFF]]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.integers(2, 9))
def test_each_token_of_a_text_is_predicted_once(paragraphs, max_length):
    whole = [TOKENIZER.bos_token_id, *TOKENIZER.encode("\n\n".join(paragraphs)), TOKENIZER.eos_token_id]
    ids, labels = encode_text(paragraphs, TOKENIZER, max_length=max_length)
    counted = labels != -100
    assert labels[counted].tolist() == whole[1:]
    assert ids[counted].tolist() == whole[:-1]
    assert ids.shape[1] <= max_length


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: encode_records("ab", TOKENIZER), TypeError, "records must be a list"),
        (lambda: encode_records(["ab"], TOKENIZER), TypeError, r"records\[0\] must be an \(input, target\) pair"),
        (lambda: encode_records([("a", 1)], TOKENIZER), TypeError, r"records\[0\]"),
        (lambda: encode_records([("a", "b")], TOKENIZER, truncation="yes"), TypeError, "truncation must be True or"),
        (lambda: encode([("a", "b")], TOKENIZER, truncation="left"), ValueError, "truncation must be one of"),
        (lambda: encode_records([("a", "b")], TOKENIZER, max_length=1), ValueError, "max_length must be at least 2"),
        (lambda: encode_text("abc", TOKENIZER), TypeError, "paragraphs must be a list"),
        (lambda: encode_text([], TOKENIZER), ValueError, "paragraphs must not be empty"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
