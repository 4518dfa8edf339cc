import json

from minilora.cli.example import SOURCE
from minilora.data import load_records, split


def test_it_copies_records_that_can_be_read(command, place):
    code, said, _ = command("example", "log.jsonl")
    assert code == 0 and "log.jsonl: 240 records" in said and '"target"' in said
    assert load_records("log.jsonl") == split("lookout", 240, 1, seed=0)[0]  # of which the shipped file is made
    assert (place / "log.jsonl").read_bytes() == SOURCE.read_bytes()


def test_nothing_is_replaced(command, place):
    before = (place / "my.jsonl").read_bytes()
    code, _, said = command("example", "my.jsonl")
    assert code == 2 and "my.jsonl exists already" in said and (place / "my.jsonl").read_bytes() == before
    code, _, said = command("example", "my.txt")
    assert code == 2 and "must end in .jsonl" in said


def test_json_and_quiet(command):
    assert json.loads(command("example", "one.jsonl", "--json")[1]) == {"file": "one.jsonl", "n": 240}
    assert command("example", "two.jsonl", "--quiet")[1] == "wrote     two.jsonl: 240 records\n"
