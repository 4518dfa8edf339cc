import json

import pytest

from minilora.data import ByteTokenizer, Record, encode_records
from minilora.nn.files import load_model
from minilora.training import evaluate


def test_it_is_what_evaluate_says(command, place):
    code, said, noise = command("evaluate", "--data", "my.jsonl", "--model", "tiny.npz", "--json")
    model, _ = load_model("tiny.npz")
    rows = [Record(f"{a} plus {b}", str(a + b)) for a in range(6) for b in range(4)]
    assert code == 0 and noise == ""
    expected = evaluate(model, *encode_records(rows, ByteTokenizer()), batch_size=32)
    assert json.loads(said) == expected | {"n": 24}


def test_the_adapter_knows_its_model_template_and_length(trained, command, place):
    code, said, _ = command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--json")
    by_folder = json.loads(said)
    assert code == 0 and by_folder["n"] == 24
    assert (
        json.loads(command("evaluate", "--data", "my.jsonl", "--adapter", "run/adapter.npz", "--json")[1]) == by_folder
    )
    other = json.loads(command("evaluate", "--data", "my.jsonl", "--model", "tiny.npz", "--json")[1])
    assert other["loss"] > by_folder["loss"]
    code, said, _ = command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--template", "{input}={target}{eos}")
    assert code == 0 and f"{by_folder['loss']:.4f}" not in said


def test_answers_are_shown(trained, command):
    code, said, _ = command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--show", 2)
    assert code == 0 and "'0 plus 1' ->" in said and "exact" in said and "24 records" in said
    code, said, _ = command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--show", 2, "--json")
    assert [answer["target"] for answer in json.loads(said)["answers"]] == ["0", "1"]
    code, said, _ = command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--quiet")
    assert "records" not in said


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--data", "nothing.csv"), "nothing.csv does not exist"),
        (("--adapter", "absent"), "absent does not exist"),
        (("--adapter", "."), ". holds no adapter.npz"),
        (("--adapter", "tiny.npz"), "tiny.npz"),
        (("--max-length", 2), "my.jsonl: max_length must leave room for a target, got 2"),
    ],
)
def test_errors_that_a_user_meets(command, change, named):
    code, _, said = command("evaluate", "--data", "my.jsonl", "--model", "tiny.npz", *change)
    assert code == 2 and named in said and said.count("\n") == 1


def test_an_adapter_of_another_base_is_refused(trained, command):
    code, _, said = command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--model", "base")
    assert code == 2 and "does not fit this model" in said
