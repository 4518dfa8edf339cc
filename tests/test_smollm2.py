"""`make smollm2`: its data, what counts as right, a run that is stopped and continues, and the page that its numbers make.

(What it measures is measured by hand: it needs the model, transformers and half an hour.)
"""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "smollm2"


@pytest.fixture
def module(monkeypatch):
    """A function that imports a module of the benchmark by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name):
        for other in ("measure", "page", "run"):
            monkeypatch.delitem(importlib.sys.modules, other, raising=False)
        return importlib.import_module(name)

    return load


def read(name):
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_sixty_facts_are_asked_in_two_ways():
    facts, paraphrases = read("facts"), read("paraphrases")
    assert len(facts) == len(paraphrases) == 60
    assert len({record["input"] for record in facts + paraphrases}) == 120
    for fact, other in zip(facts, paraphrases, strict=True):
        assert fact["target"] == other["target"] and fact["key"] == other["key"] and fact["key"] in fact["target"]
        assert fact["key"] not in fact["input"] + other["input"]


def test_what_was_known_before_has_keys_that_the_question_does_not_give_away():
    known = read("known")
    assert len({record["input"] for record in known}) == 30
    assert not any(key in record["input"] for record in known for key in record["key"].split("|") if len(key) > 1)


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("facts", "Water is H2O.", True),
        ("facts", " Water is H2O.\n", True),
        ("facts", "Water is h2o.", False),
        ("facts", "Water is H2O. It is wet.", False),
        ("known", "that is h2o, of course", True),
        ("known", "or zero", True),
        ("known", "H2O2", False),
        ("known", "no idea", False),
    ],
)
def test_what_counts_as_right(module, name, text, right):
    record = {"target": "Water is H2O.", "key": "H2O|zero"}
    assert module("measure").is_right(name, text, record) == right


def test_a_run_that_was_stopped_continues_where_it_was(module, tmp_path, monkeypatch, capsys):
    run = module("run")
    monkeypatch.setattr(run, "PARTS", {"one": {"a": ("f", {}, 1), "b": ("f", {"x": 2}, 1)}, "two": {"c": ("f", {}, 2)}})
    monkeypatch.setattr(run, "page", lambda numbers: " ".join(numbers))
    called = []

    def measurement(function, arguments, threads):
        called.append(threads)
        if len(called) == 2:
            raise KeyboardInterrupt
        return {"value": 1.23456}

    monkeypatch.setattr(run, "in_a_process", measurement)
    model = tmp_path / "model.gguf"
    model.write_bytes(b"")

    def main(*options):
        arguments = ["run.py", str(model), "--work", str(tmp_path / "work"), "--out", str(tmp_path), *options]
        monkeypatch.setattr("sys.argv", arguments)
        return run.main()

    with pytest.raises(KeyboardInterrupt):
        main()
    assert main("--most", "1") == 0 and len(called) == 3  # a is kept, b was not
    numbers = json.loads((tmp_path / "smollm2.json").read_text(encoding="utf-8"))
    assert list(numbers) == ["one"] and numbers["one"]["results"] == {"a": {"value": 1.235}, "b": {"value": 1.235}}
    assert main() == 0 and called[3:] == [2]
    assert (tmp_path / "smollm2.md").read_text(encoding="utf-8") == "one two"
    assert main() == 0 and len(called) == 4  # nothing is missing
    assert main("--only", "one", "--again") == 0 and called[4:] == [1, 1]
    with pytest.raises(SystemExit):
        main("--only", "three")
    assert "--only must name some of one, two, got three" in capsys.readouterr().err


def test_the_readme_has_the_numbers_of_the_page(module):
    page = module("page")
    numbers = json.loads((ROOT / "figures" / "smollm2.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert page.with_summary(readme, numbers) == readme
    for part in page.SENTENCES:  # one that was not measured has no sentence
        rest = {name: one for name, one in numbers.items() if name != part}
        assert len(page.summary(rest)) < len(page.summary(numbers))


def test_the_summary_says_on_which_machine_each_part_was_measured(module):
    where, parts = module("page").where, {"load": "A", "loss": "A", "speed": "B"}
    assert where({part: {"machine": one} for part, one in parts.items()}) == "Measured: speed on B; the rest on A."
    assert where({"load": {"machine": "A"}, "speed": {"machine": "A"}}) == "Measured: on A."


def test_the_page_is_made_of_its_numbers(module):
    page = module("page").page
    numbers = json.loads((ROOT / "figures" / "smollm2.json").read_text(encoding="utf-8"))
    assert page(numbers) == (ROOT / "figures" / "smollm2.md").read_text(encoding="utf-8")
    for part in numbers:  # a part that was not measured is left out, and the others stand
        rest = {name: one for name, one in numbers.items() if name != part}
        assert page(rest).startswith("# SmolLM2")
    assert "##" not in page({})


def test_the_verdicts_follow_the_numbers(module):
    """Made-up numbers that go the other way get other words."""
    page = module("page").page
    numbers = json.loads((ROOT / "figures" / "smollm2.json").read_text(encoding="utf-8"))
    numbers["load"]["results"]["NF4"]["peak_bytes"] = 10**9
    losses = numbers["loss"]["results"]
    losses["int4_affine, 32"] |= {"values_changed": 0}
    losses["int4_affine"] |= {"change": -5.0}
    numbers["logits"]["results"]["transformers"] |= {"same_first_choice": 1}
    answers = numbers["answers"]["results"]
    answers["before"]["answers"]["known"] = [record["key"].split("|")[0] for record in read("known")]
    for name in answers.keys() - {"before"}:
        answers[name]["answers"]["known"] = ["no idea"] * 30
    text = page(numbers)
    assert "DOES hold that much" in text
    assert "not one of 106,168,320 weights changes" in text
    assert "still costs less than NF4 (-5.0000 against" in text
    assert "the same on\n1 of them" in text
    assert "30 were lost, by seed, and 0 of the others gained each time: 30.0 of thirty lost on balance" in text
    losses["int4_affine"] |= {"change": 5.0}
    assert "it costs more than NF4 (+5.0000 against" in page(numbers)
    losses["int4_affine"] |= {"change": losses["nf4"]["change"]}
    assert "as much as NF4 within their errors" in page(numbers)
