"""What README shows of the workflow is what the commands do; only numbers may differ from a run with few steps."""

import os
import re
import shlex
from pathlib import Path

import pytest

from minilora import TrainingConfig
from minilora.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
WORKFLOW = README.split("<!-- workflow:begin -->")[1].split("<!-- workflow:end -->")[0]
FEW = {"finetune": ["--max-steps", "2", "--batch-size", "4"]}


def form(text):
    """A text without its numbers, and what is generated left out."""
    return re.sub(r"\b\d[\d,.]*(e-?\d+)?( (kB|MB|GB|bytes)\b)?", "#", text).strip().splitlines()


def test_the_commands_print_what_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"^\$ (.+)\n((?:(?!\$ |```).*\n)*)", WORKFLOW, re.MULTILINE)
    assert [shlex.split(command)[3] for command, _ in shown] == ["example", "finetune", "generate", "merge"]
    for command, expected in shown:
        name, *words = shlex.split(command)[3:]
        assert main([name, *words, *FEW.get(name, [])]) == 0
        printed = capsys.readouterr().out.replace(f"{tmp_path.resolve()}{os.sep}", "")
        if name == "generate":
            assert len(form(expected)) == 1 and form(printed)  # what is said after two steps may be anything
        else:
            assert form(printed) == form(expected)
    assert {"my.jsonl", "my_run", "my_model.npz"} == {path.name for path in tmp_path.iterdir()}


def test_the_ten_lines_run(tmp_path, monkeypatch):
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "load_records" in block)
    assert len([line for line in code.splitlines() if line.strip()]) == 10
    monkeypatch.chdir(tmp_path)
    assert main(["example", "my.jsonl"]) == 0
    steps = re.search(r"max_steps=(\d+)", code).group(1)
    namespace = {}
    exec(code.replace(f"max_steps={steps}", "max_steps=2").replace("warmup_steps=", "warmup_steps=0 * "), namespace)
    assert isinstance(namespace["config"], TrainingConfig) and (tmp_path / "my_adapter.npz").is_file()


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(path):
    assert (Path(__file__).parents[1] / path).exists()
