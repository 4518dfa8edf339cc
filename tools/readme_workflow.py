"""Run the commands of README's "Fine-tune on your own file", and put what they print there.

    python tools/readme_workflow.py

tests/test_readme.py runs the same commands with few steps and holds what they print to the form that stands there.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- workflow:begin -->\n", "<!-- workflow:end -->\n"
COMMANDS = (
    ("example", "my.jsonl"),
    ("finetune", "--data", "my.jsonl", "--out", "my_run"),
    ("generate", "--adapter", "my_run", "--prompt", "Ahoy! Two rubber ducks dead ahead, on fire!"),
    ("merge", "--adapter", "my_run", "--out", "my_model.npz"),
)


def main() -> int:
    """Rewrite the block between the two marks of README.md."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    with tempfile.TemporaryDirectory() as folder:
        shown = [printed(words, Path(folder)) for words in COMMANDS]
    README.write_text(
        before + BEGIN + "```\n" + "\n".join(shown) + "```\n" + END + after, encoding="utf-8", newline="\n"
    )
    return 0


def printed(words: tuple[str, ...], folder: Path) -> str:
    """A command as it is typed, and below it what it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "minilora", *words]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}")
    said = done.stdout.replace(f"{folder.resolve()}{os.sep}", "")  # no path of the machine that ran it
    return f"$ {typed(words)}\n{said}"


def typed(words: tuple[str, ...]) -> str:
    """The command line, quoted where a shell needs it."""
    return "python -m minilora " + " ".join(f'"{word}"' if " " in word else word for word in words)


if __name__ == "__main__":
    sys.exit(main())
