"""What an installation brings along, and that the installed package is found."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import minilora

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minilora"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_file_of_the_package_that_is_no_code_is_declared():
    globs = PYPROJECT["tool"]["setuptools"]["package-data"]["minilora"]
    declared = {path for pattern in globs for path in PACKAGE.glob(pattern)}
    there = {p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc") and ".tmp" not in p.name}
    assert there == declared and PACKAGE / "assets" / "base.npz" in there


def test_every_folder_of_the_package_is_one_that_setuptools_finds():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_the_version_stands_once():
    assert PYPROJECT["project"]["version"] == minilora.__version__


def test_every_package_of_an_extra_has_a_pinned_version():
    pinned = set(re.findall(r"(?m)^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()))
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    wanted = {
        re.match(r"[\w-]+", text)[0].lower()
        for texts in (PYPROJECT["project"]["dependencies"], *extras)
        for text in texts
    }
    assert wanted <= pinned


def test_a_script_beside_the_clone_finds_the_package(tmp_path):
    """Python looks beside the script first, where the clone's folder, of the package's name, is no package itself."""
    installed = importlib.metadata.distributions(
        name="minilora"
    )  # the folder minilora.egg-info of a checkout is one, too
    origins = [json.loads(one.read_text("direct_url.json") or "{}") for one in installed]
    if not any(origin.get("dir_info", {}).get("editable") for origin in origins):
        pytest.skip("minilora is not installed from a checkout; make test does it")
    (tmp_path / "minilora").mkdir()
    (tmp_path / "minilora" / "README.md").write_text("a clone", encoding="utf-8")
    script = tmp_path / "script.py"
    script.write_text("from minilora import load_base\nprint(load_base().config.hidden_size)\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("128\n", "")
