"""Every line of a data file is accounted for."""

import threading

import pytest

from minilora.cli import rows
from minilora.data import ByteTokenizer, Template

TOKENIZER = ByteTokenizer()
SETTINGS = {
    "input_field": "input",
    "target_field": "target",
    "max_length": 20,
    "truncation": "input",
    "completion_only_loss": True,
    "eval_fraction": 0.5,
    "seed": 0,
}


def split(data, eval_data=None, **changes):
    return rows.split(str(data), eval_data and str(eval_data), TOKENIZER, Template(), SETTINGS | changes)


def test_blank_lines_are_reported(place):
    text = (place / "my.jsonl").read_text(encoding="utf-8")
    (place / "my.jsonl").write_text("\n" + text + "\n\n", encoding="utf-8")
    report = split("my.jsonl")[2]
    assert report[0] == "my.jsonl: 24 records" and report[1] == "3 blank lines passed over: lines 1, 26, 27"
    assert report[-1] == "12 records to train on, 12 held out (drawn by seed 0)"


def test_records_and_text_do_not_mix(place):
    (place / "my.txt").write_text("one\n\ntwo\n", encoding="utf-8")
    with pytest.raises(ValueError, match="my.jsonl and my.txt must both hold records or both text"):
        split("my.jsonl", "my.txt")


def test_the_first_line_that_does_not_fit_is_named_and_the_rest_counted(records, place):
    records("long.jsonl", ("a", "b"), ("c", "d" * 30), ("e", "f" * 30))
    with pytest.raises(ValueError, match=r"long.jsonl, line 2: its target alone needs more .* \(so do 1 more\)"):
        split("long.jsonl", "my.jsonl")
    records("cut.jsonl", ("a" * 30, "b"), ("c", "d"))
    with pytest.raises(ValueError, match="cut.jsonl, line 1: needs more than --max-length 20 tokens; raise"):
        split("cut.jsonl", "my.jsonl", truncation="error")
    training, _, report = split("cut.jsonl", "my.jsonl")
    assert "1 inputs lost their start to fit 20 tokens: line 1" in report
    assert TOKENIZER.decode(training.token_ids[0]) == "a" * 17 + "b"


def test_a_template_may_be_typed(place):
    assert rows.pattern(r"{input}\n\t{target}", Template()) == Template("{input}\n\t{target}")
    assert rows.pattern(None, Template()) == Template()


def test_a_list_of_lines_is_shortened():
    assert rows.listed([3]) == "line 3"
    assert rows.listed(list(range(1, 11))) == "lines 1, 2, 3, 4, 5, 6, 7, 8, ..."


def test_a_run_may_be_in_a_thread(finetune):
    """Where signals cannot be handled, Ctrl-C is left to whoever runs it."""
    codes = []
    thread = threading.Thread(target=lambda: codes.append(finetune("run", "--quiet")[0]))
    thread.start()
    thread.join()
    assert codes == [0]
