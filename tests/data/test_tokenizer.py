import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.data import ByteTokenizer, Tokenizer

TOKENIZER = ByteTokenizer()


@given(st.text())
def test_decode_inverts_encode(text):
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert not set(ids.tolist()) & set(TOKENIZER.special_token_ids)


def test_the_byte_tokenizer_is_a_tokenizer():
    assert isinstance(TOKENIZER, Tokenizer)


def test_a_lone_surrogate_is_named():
    with pytest.raises(ValueError, match=r"text must be text that UTF-8 can hold.*'\\ud800' at index 2"):
        TOKENIZER.encode("ab\ud800")
