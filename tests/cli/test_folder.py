"""One process at a time writes into the folder of a run, and a dead one does not keep it."""

import os
import subprocess
import sys

import pytest

from minilora.cli.folder import RunFolder

HOLD = """
import sys, time
from minilora.cli.folder import RunFolder
with RunFolder(sys.argv[1]).locked():
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    """Another process that has the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lock_keeps_others_out_names_its_owner_and_ends_with_it(tmp_path, owner):
    with pytest.raises(ValueError, match=f"in use by another run .process {owner.pid}."), RunFolder(tmp_path).locked():
        pass
    owner.kill()  # as hard as it gets
    owner.wait()
    assert (tmp_path / ".lock").exists()
    with RunFolder(tmp_path).locked():
        assert (tmp_path / ".lock").read_text(encoding="utf-8") == f"{os.getpid()}\n"
    assert not (tmp_path / ".lock").exists()


def test_an_error_inside_releases_it(tmp_path):
    with pytest.raises(KeyError), RunFolder(tmp_path).locked():
        raise KeyError
    with RunFolder(tmp_path).locked():
        pass


def test_a_folder_in_which_nothing_was_written_is_not_left_behind(tmp_path):
    for name, made_before in (("new", False), ("old", True)):
        path = tmp_path / name
        if made_before:
            path.mkdir()
        with pytest.raises(KeyError), RunFolder(path).locked():
            raise KeyError
        assert path.exists() == made_before
    with RunFolder(tmp_path / "new").locked():
        (tmp_path / "new" / "run.json").write_text("{}", encoding="utf-8")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run.json"]


def test_what_a_run_wrote_is_read(tmp_path):
    folder = RunFolder(tmp_path / "new")
    assert folder.read() is None and folder.kept_step() == 0
    folder.write({"settings": {"é": 1}})
    assert folder.read() == {"settings": {"é": 1}}
    for damaged in ("{", "[]", '{"settings": 3}', "[" * 100_000):
        folder.run.write_text(damaged, encoding="utf-8")
        with pytest.raises(ValueError, match="run.json is damaged"):
            folder.read()
