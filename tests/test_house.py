"""The house stands as the design says: arrows point one way, and importing is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minilora"
LEAVES = {"checks", "archive", "schema", "storage", "machine"}
ROOMS = {"nn", "quant", "adapters", "data", "training", "analysis", "assets", "interop"}
MAY_IMPORT = {
    "nn": set(),
    "quant": set(),
    "data": set(),
    "adapters": {"nn", "quant"},
    "training": {"nn", "adapters", "data"},
    "analysis": {"nn", "quant", "adapters"},
    "assets": {"nn"},
    "interop": {"nn", "quant", "adapters", "data"},
    "plots": set(),
    "parallel": set(),
    "experiments": ROOMS,
    "gallery": {"experiments", "plots", "assets", "parallel"},
    "course": ROOMS | {"experiments", "plots", "gallery", "parallel"},
    "cli": ROOMS | {"experiments", "plots", "gallery", "parallel"},
}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_arrows_point_one_way(folder):
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                parts = (name or "").split(".")
                if parts[0] != "minilora":
                    assert parts[0] not in {"torch", "transformers", "peft", "bitsandbytes"}
                    continue
                if name == "minilora" and isinstance(node, ast.Import):
                    continue  # for the version
                targets = {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
                assert targets <= MAY_IMPORT[folder] | LEAVES | {folder}, f"{path.name} imports {name}"


def test_importing_loads_numpy_only():
    code = "import sys, minilora; print([m for m in ('scipy', 'matplotlib', 'tqdm', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    import minilora

    assert all(getattr(minilora, name).__doc__ for name in minilora.__all__)
