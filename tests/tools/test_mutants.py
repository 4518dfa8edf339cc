"""The page of mutants counts what mutmut noted, and explains survivors by what tools/equivalent.toml says of them."""

import argparse
import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "tools" / "mutants.py"


@pytest.fixture
def mutants(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("mutants", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("FOLDER", "PAGE", "EQUIVALENT"):
        monkeypatch.setattr(module, name, tmp_path / name.lower())
    module.EQUIVALENT.write_text(
        '[[equivalent]]\nin = "*"\nline = "harmless"\nwhy = "it is harmless"\n'
        """[[equivalent]]\nin = "*"\npattern = 'hint="[A-Z ]+"'\nwhy = "words alone"\n""",
        encoding="utf-8",
    )
    (tmp_path / "folder" / "minilora" / "nn").mkdir(parents=True)
    codes = {f"minilora.nn.ops.x_f__mutmut_{i}": code for i, code in enumerate([1, 1, 1, -24, 0, 0, 33, None])}
    meta = tmp_path / "folder" / "minilora" / "nn" / "ops.py.meta"
    meta.write_text(json.dumps({"exit_code_by_key": codes}), encoding="utf-8")
    changes = {"minilora.nn.ops.x_f__mutmut_4": "-    harmless"}
    monkeypatch.setattr(module, "diff", lambda name: ("minilora.nn.ops.f", changes.get(name, f"-    {name[-1]}")))
    return module


def test_verdicts_are_read_from_the_exit_codes(mutants):
    killed, survived, untested = mutants.KILLED, mutants.SURVIVED, mutants.UNTESTED
    assert list(mutants.verdicts().values()) == [killed] * 4 + [survived, survived, untested, None]


def test_the_page_says_what_share_was_killed_and_lists_what_was_not(mutants):
    said = mutants.report(sorted(mutants.verdicts()), argparse.Namespace(sample=None, seed=0, note=""))
    page = mutants.PAGE.read_text(encoding="utf-8")
    assert "7 were tried and **57.1%** killed, 1 more cannot or need not be." in page  # 4 of 7: one was not tried
    assert "| nn | 4 | 2 | 1 | 1 | 57.1% |" in page and "| nn | 4 | 2 | 1 | 1 | 57.1% |" in said
    explained, left = page.split("## Survivors that are not")
    assert "it is harmless" in explained and "harmless" not in left
    assert left.count("```diff") == 2 and "no test reaches it" in left
    assert "2 survivors without an explanation" in said


def test_a_pattern_explains_as_well(mutants, monkeypatch):
    monkeypatch.setattr(mutants, "diff", lambda name: ("minilora.nn.ops.f", '+    f(hint="TRY IT")'))
    assert "0 survivors without" in mutants.report(
        sorted(mutants.verdicts()), argparse.Namespace(sample=None, seed=0, note="")
    )
    assert mutants.PAGE.read_text(encoding="utf-8").count("words alone") == 3


def test_a_sample_is_named_with_its_seed(mutants):
    names = sorted(mutants.verdicts())[:4]
    mutants.report(names, argparse.Namespace(sample=4, seed=7, note="An early one."))
    page = mutants.PAGE.read_text(encoding="utf-8")
    assert (
        "(4 mutants drawn with seed 7)" in page
        and "\n\nAn early one.\n\n|" in page
        and "**100.0%** killed" in page
        and page.count("None.") == 2
    )


def test_each_equivalent_mutant_names_a_function_that_is_there_and_says_why():
    import importlib
    import tomllib

    for entry in tomllib.loads((PATH.parent / "equivalent.toml").read_text(encoding="utf-8"))["equivalent"]:
        assert set(entry) in ({"in", "line", "why"}, {"in", "pattern", "why"}) and entry["why"]
        if entry["in"] != "*":
            parts = entry["in"].split(".")
            module = importlib.import_module(".".join(parts[:3]))
            for part in parts[3:]:
                module = getattr(module, part)
