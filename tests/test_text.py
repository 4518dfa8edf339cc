"""English as the field writes it: forms that readers of other texts would not expect do not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ODD = {  # what not to write: what to write instead
    r"\b(?:nats|bits|ns|bytes|seconds|steps) an? (?:byte|weight|value|parameter|token|step|second)\b": "per",
    r"\bin the place of\b": "instead of",
    r"\b[Hh]ere lies\b": "this is where",
    r"\banew\b": "again",
    r"\bbelongs? into\b": "belongs in",
    r"(?<!there )\b(?:is|are) no (?:archive|JSON|number|integer|parameter|path|file|array)s?\b(?! (?:at|in|on|of|that|to))": (
        "is not"
    ),
    r"\b[Gg]oes on from\b": "resumes",
    r"\b(?:is|are) turned(?! (?:on|off|by|into))\b": "is flipped",
    r"\bwas told\b": "was given",
    r"\bfound out of\b": "taken from",
}
PATTERN = re.compile("|".join(f"({form})" for form in ODD))


def texts():
    yield from (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile")
    for folder in ("minilora", "tests", "tools", "benchmarks", "notebooks/source", "figures"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md") and path.name != Path(__file__).name and ".runs" not in path.parts:
                yield path


def odd_forms(text):
    """(line number, what stands there, what to write instead) of each odd form."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in PATTERN.finditer(line):
            yield number, match.group(), list(ODD.values())[match.lastindex - 1]


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="needs the whole checkout")
def test_texts_use_the_words_of_the_field():
    odd = [
        f"{path.relative_to(ROOT)}:{number}: {form!r}; write {better!r}"
        for path in texts()
        for number, form, better in odd_forms(path.read_text(encoding="utf-8"))
    ]
    assert not odd, "\n".join(odd)


def test_commands_work_in_every_shell():
    """PowerShell 5.1 does not know `&&`."""
    pages = [path for path in texts() if path.suffix == ".md"]
    assert len(pages) > 3
    for path in pages:
        for block in re.findall(r"```(?:\w*)\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            assert "&&" not in block, f"{path.relative_to(ROOT)}: {block}"


def test_an_odd_form_is_seen():
    lines = list(odd_forms("1.2 nats a byte\nnats per byte\nHere lies the saving\nthe sign is turned"))
    assert [(number, better) for number, _, better in lines] == [(1, "per"), (3, "this is where"), (4, "is flipped")]
