import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.data import TASKS, split


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


def test_the_log_says_what_the_lookout_cried():
    counts = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    for cry, entry in split("lookout", 300, 1, seed=0)[0]:
        side, count, sight, deed = re.fullmatch(r"(\w+): (\d) x ([a-z ]+), ([a-z ]+)", entry).groups()
        words = cry.lower()
        assert side in words and deed in words and counts[int(count) - 1] in words
        assert (sight if count == "1" else f"{sight}s") in words and cry[0].isupper()
