"""Which edits make kept runs worthless, and which do not."""

import shutil
from pathlib import Path

import pytest

from minilora.parallel import code

PACKAGE = Path(code.PACKAGE)


@pytest.fixture
def fingerprint(tmp_path, monkeypatch):
    """The fingerprint of `rank_fit` in a copy of the package that a test may edit."""
    copy = shutil.copytree(PACKAGE, tmp_path / "minilora", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "PACKAGE", copy)

    def ask(path=None, edit=None):
        if path:
            text = (copy / path).read_text(encoding="utf-8")
            (copy / path).write_text(edit(text), encoding="utf-8")
        code._fingerprint.cache_clear()
        return code._fingerprint("minilora.experiments.rank.rank_fit")

    yield ask
    code._fingerprint.cache_clear()


def another_line(text):
    return text + "\nx = 1\n"


@pytest.mark.parametrize(
    "path", ["cli/main.py", "plots/style.py", "experiments/rank/rank_known.py", "parallel/each.py"]
)
def test_code_that_a_run_does_not_reach_may_change(fingerprint, path):
    before = fingerprint()
    assert fingerprint(path, another_line) == before


@pytest.mark.parametrize("path", ["nn/ops.py", "experiments/rank/rank_fit.py", "quant/blockwise.py", "checks.py"])
def test_code_that_a_run_reaches_may_change_in_words_alone(fingerprint, path):
    before = fingerprint()
    assert fingerprint(path, lambda text: text.replace('"""', '"""In other words: ', 1)) == before
    assert fingerprint(path, lambda text: text + "\n\n# why\n") == before
    assert fingerprint(path, another_line) != before


def test_weights_are_part_of_it(fingerprint):
    before = fingerprint()
    (code.PACKAGE / "assets" / "base.npz").write_bytes(b"other weights")
    assert fingerprint() != before


def test_relative_imports_and_functions_of_other_modules(tmp_path, monkeypatch):
    for name, text in {
        "a.py": "from .b import f\nfrom . import c\n",
        "b.py": "",
        "c.py": "import minilora.a\n",
        "d.py": "",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(code, "PACKAGE", tmp_path.rename(tmp_path.with_name("minilora")))
    assert sorted(code._reached("minilora.a")) == ["minilora.a", "minilora.b", "minilora.c"]
    assert __name__ in code._reached(__name__)  # a test's own function: its file counts
    assert code._reached("builtins") == {}
