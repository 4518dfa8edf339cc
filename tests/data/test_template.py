import numpy as np
import pytest

from minilora.data import ByteTokenizer, Record, Template

TOKENIZER = ByteTokenizer()


class Plain(ByteTokenizer):
    """Bytes without special tokens."""

    bos_token_id = sep_token_id = eos_token_id = pad_token_id = None


def test_the_default_is_bos_input_sep_target_eos():
    ids, first = Template().encode(Record("ab", "c"), TOKENIZER)
    assert ids.tolist() == [0xFD, 97, 98, 0xFC, 99, 0xFF] and ids.dtype == np.int64
    assert first == 4
    assert Template().prompt("ab", TOKENIZER).tolist() == ids[:first].tolist()


def test_text_stands_in_each_example():
    template = Template("Q: {input}\nA: {target}{eos}")
    ids, first = template.encode(("two", "2"), TOKENIZER)
    assert bytes(ids[:-1].tolist()) == b"Q: two\nA: 2" and ids[-1] == TOKENIZER.eos_token_id
    assert bytes(ids[:first].tolist()) == b"Q: two\nA: "


def test_what_follows_the_target_counts_too():
    ids, first = Template("{input}>{target}!{eos}").encode(("a", "b"), TOKENIZER)
    assert bytes(ids[first:-1].tolist()) == b"b!"


def test_a_cut_takes_the_start_of_the_input_alone():
    template = Template("<{input}>{target}")
    assert bytes(template.encode(("abc", "xy"), TOKENIZER, cut=2)[0].tolist()) == b"<c>xy"
    with pytest.raises(ValueError, match="cut must be between 0 and 3, got 4"):
        template.encode(("abc", "xy"), TOKENIZER, cut=4)


def test_a_template_suits_its_tokenizer():
    assert Template.suited_to(TOKENIZER) == Template()
    assert Template.suited_to(Plain()) == Template("{input}\n{target}")
    with pytest.raises(ValueError, match="uses {bos}, but the tokenizer has no bos token"):
        Template().encode(("a", "b"), Plain())


class WithoutBos(ByteTokenizer):
    """Bytes, with a bos token that no text begins with."""

    add_bos_token = False


def test_a_layout_has_no_bos_where_texts_have_none():
    assert Template.suited_to(WithoutBos()) == Template("{input}{sep}{target}{eos}")
    assert Template().encode(("a", "b"), WithoutBos())[0][0] == WithoutBos.bos_token_id  # asked for by name


def test_an_answer_ends_with_eos():
    assert Template().end_token_ids(TOKENIZER) == [TOKENIZER.eos_token_id]
    assert Template("{input}{target}").end_token_ids(Plain()) == []


def test_braces_that_are_no_field_are_text():
    assert bytes(Template('{"a": {input}} {target}').encode(("1", "2"), TOKENIZER)[0].tolist()) == b'{"a": 1} 2'


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("{input}", ValueError, "must hold {target} once"),
        ("{target}{target}", ValueError, "must hold {target} once"),
        ("{target}{input}", ValueError, "{input} at most once and before it"),
        ("{inptu}{target}", ValueError, r"got \['inptu'\]"),
        (3, TypeError, "pattern must be a str"),
    ],
)
def test_a_bad_pattern_is_named(pattern, error, message):
    with pytest.raises(error, match=message):
        Template(pattern)
