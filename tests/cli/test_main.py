"""Which exit code and which words each end of a command has."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

import minilora
from minilora.cli import main
from minilora.cli.main import COMMANDS


@pytest.fixture
def command(monkeypatch):
    """A command that does what a test says."""

    def install(run, **more):
        module = SimpleNamespace(HELP="try", EXAMPLE="minilora try", add_arguments=lambda parser: None, run=run, **more)
        monkeypatch.setitem(COMMANDS, "try", module)

    return install


def raising(error):
    def run(args):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("r must be at least 1, got 0"), 2, "r must be at least 1"),
        (FileNotFoundError("data.jsonl does not exist"), 2, "data.jsonl"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (RuntimeError("the run failed"), 1, "the run failed"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "stopped; nothing was written"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_end_has_its_code_and_one_line(command, capsys, error, code, words):
    command(raising(error))
    assert main(["try"]) == code
    said = capsys.readouterr().err
    assert said.startswith("minilora: ") and words in said and said.count("\n") == 1


def test_a_command_says_itself_what_stopping_leaves(command, capsys):
    command(raising(KeyboardInterrupt()), stopped=lambda args: "step 40 is kept")
    assert main(["try"]) == 130
    assert capsys.readouterr().err == "minilora: stopped; step 40 is kept\n"


AGAIN = """
import atexit, runpy, signal, sys
from types import SimpleNamespace
from minilora.cli.main import COMMANDS

def press(*_):
    signal.raise_signal(signal.SIGINT)

def stopped(args):
    press()
    return "step 40 is kept"

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
COMMANDS["try"] = SimpleNamespace(HELP="try", EXAMPLE="", add_arguments=lambda parser: None, run=press, stopped=stopped)
atexit.register(press)
sys.argv = ["minilora", "try"]
runpy.run_module("minilora", run_name="__main__")
"""


def test_ctrl_c_pressed_again_changes_neither_the_words_nor_the_exit_code():
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "minilora: stopped; step 40 is kept\n")


def test_a_fault_in_the_code_is_not_hidden(command):
    command(raising(KeyError("a bug")))
    with pytest.raises(KeyError):
        main(["try"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_that_it_accepts(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0 and COMMANDS[name].EXAMPLE in shown
    assert COMMANDS[name].EXAMPLE.removeprefix("python -m ").startswith(f"minilora {name}")


def test_without_a_command_there_is_help_and_an_unknown_one_is_refused(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    with pytest.raises(SystemExit) as end:
        main(["nonsense"])
    assert end.value.code == 2
    with pytest.raises(SystemExit):
        main(["--version"])
    assert minilora.__version__ in capsys.readouterr().out


def test_a_reader_that_leaves_is_no_fault():
    """`minilora figures --list | head -0`: no traceback."""
    code = "import sys; from minilora.cli import main; sys.stdin.read(); sys.exit(main(['figures', '--list']))"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == b"" and process.wait() == 1
    process.stderr.close()


@pytest.mark.parametrize("name", ["example", "finetune", "evaluate", "generate", "merge", "adapters", "plot"])
def test_each_command_of_the_workflow_speaks_to_machines_and_can_be_quiet(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert "--json" in shown and "--quiet" in shown
