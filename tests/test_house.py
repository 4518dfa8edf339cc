"""The house stands as the design says: arrows point one way, importing is light, and texts are read as UTF-8 everywhere."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minilora"
LEAVES = {"checks", "archive", "atomic", "schema", "storage", "machine", "team"}  # files at the bottom, for everyone
LIBRARY = {  # which rooms a room uses, exactly
    "nn": set(),
    "quant": set(),
    "data": set(),
    "plots": set(),
    "parallel": set(),
    "assets": {"nn"},
    "adapters": {"nn", "quant"},
    "analysis": {"nn", "quant", "adapters"},
    "training": {"nn", "adapters", "data"},
    "interop": {"nn", "quant", "adapters", "data"},
}
ROOMS = LIBRARY.keys() - {"plots", "parallel"}
ON_TOP = {  # which rooms those that stand on top may use
    "experiments": ROOMS,
    "gallery": {"experiments", "plots", "assets", "parallel"},
    "course": ROOMS | {"experiments", "plots", "gallery", "parallel"},
    "cli": ROOMS | {"experiments", "plots", "gallery", "parallel"},
}
OTHERS = {  # which packages beside numpy a room may import
    "quant": {"scipy"},
    "training": {"tqdm"},
    "parallel": {"tqdm", "dask", "distributed"},
    "gallery": {"matplotlib", "scipy", "tqdm"},
    "course": {
        "matplotlib",
        "IPython",
        "jupyter_client",
        "jupyter_core",
        "jupytext",
        "nbclient",
        "latex2mathml",
        "nbconvert",
        "nbformat",
    },
    "plots": {"matplotlib"},  # for the name of what it draws on
    "cli": {"matplotlib"},
}


def imports(path):
    """(module, names) of every import in a file; names are None for `import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots; say the whole name"
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)


def rooms_used(folder):
    """The rooms of this package that a room imports from, beside itself and the leaves."""
    used = set()
    for path in (PACKAGE / folder).rglob("*.py"):
        for module, names in imports(path):
            top, *rest = module.split(".")
            if top == PACKAGE.name and (rest or names):  # `import minilora` alone is for its version
                used |= {rest[0]} if rest else set(names)
    return used - LEAVES - {folder}


def test_every_folder_has_its_place():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == LIBRARY.keys() | ON_TOP.keys()
    files = {path.stem for path in PACKAGE.glob("*.py")}
    assert files == LEAVES | {"__init__", "__main__"}


@pytest.mark.parametrize("folder", LIBRARY)
def test_a_room_of_the_library_uses_exactly_the_rooms_below_it(folder):
    assert rooms_used(folder) == LIBRARY[folder]


@pytest.mark.parametrize("folder", ON_TOP)
def test_what_stands_on_top_uses_only_what_is_below(folder):
    assert rooms_used(folder) <= ON_TOP[folder]


def test_the_arrows_make_no_circle():
    below = {**LIBRARY, **ON_TOP}
    while below:
        free = {room for room, used in below.items() if not used & below.keys()}
        assert free, f"a circle among {sorted(below)}"
        below = {room: used for room, used in below.items() if room not in free}


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_leaves_import_leaves_alone(leaf):
    for module, names in imports(PACKAGE / f"{leaf}.py"):
        if module.split(".")[0] == PACKAGE.name:
            assert set(names) <= LEAVES or module.split(".")[1] in LEAVES


@pytest.mark.parametrize("folder", [*LIBRARY, *ON_TOP])
def test_a_room_imports_no_package_but_its_own(folder):
    used = {module.split(".")[0] for path in (PACKAGE / folder).rglob("*.py") for module, _ in imports(path)}
    assert used - sys.stdlib_module_names - {PACKAGE.name, "numpy"} <= OTHERS.get(folder, set())


def test_importing_loads_numpy_only():
    code = "import sys, minilora; print([m for m in ('scipy', 'matplotlib', 'tqdm', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    import minilora

    assert all(getattr(minilora, name).__doc__ for name in minilora.__all__)


def test_texts_are_read_and_written_as_utf_8():
    """Windows would take its own code page."""
    wrong = []
    for folder in ("minilora", "tests", "benchmarks", "notebooks/source", "tools"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and needs_encoding(node):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong


def needs_encoding(call):
    """Is this `read_text`, `write_text` (a method's) or `open` in text mode, without an encoding?"""
    given = {keyword.arg for keyword in call.keywords}
    if isinstance(call.func, ast.Attribute):
        reads = call.func.attr == "read_text" and not call.args
        writes = call.func.attr == "write_text" and len(call.args) == 1
        return (reads or writes) and "encoding" not in given
    modes = [arg.value for arg in call.args[1:2] if isinstance(arg, ast.Constant)]
    opens = isinstance(call.func, ast.Name) and call.func.id == "open"
    return opens and not any("b" in str(mode) for mode in modes) and "encoding" not in given
