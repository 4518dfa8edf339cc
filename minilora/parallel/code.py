"""Which code does a function run? A hash of the modules that it reaches, blind to comments and docstrings."""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def code_fingerprint(function: Callable) -> str:
    """A hash of the function's module and of every module of this package that it imports, directly or through others.

    Two texts that differ in comments, docstrings or layout alone hash the same, so that polishing a page does not
    compute its figures again. Weights (.npz) beside a module count as part of it.
    """
    return _fingerprint(function.__module__)


@lru_cache
def _fingerprint(name):
    digest = hashlib.sha256()
    for module, path in sorted(_reached(name).items()):
        digest.update(f"{module} {_skeleton(path)}\n".encode())
        for weights in sorted(path.parent.glob("*.npz")) if PACKAGE in path.parents else ():
            digest.update(weights.read_bytes())
    return digest.hexdigest()


def _reached(name) -> dict[str, Path]:
    """{module: file} of `name` and of all modules of this package that it imports."""
    files, waiting = {}, [(name, _file(name))]
    while waiting:
        name, path = waiting.pop()
        if path is None or name in files:
            continue
        files[name] = path
        waiting += [(module, _file(module)) for module in _imports(name, path)]
    return files


def _imports(name, path) -> Iterator[str]:
    """The modules of this package that a file takes something from, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), _package(name, path))
            inner = [f"{module}.{alias.name}" for alias in node.names]
            # A module of the package, or a name of its __init__.
            named = [one if _file(one) else module for one in inner]
        else:
            continue
        yield from (module for module in named if module.split(".")[0] == PACKAGE.name)


def _package(name, path):
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def _file(name):
    """The file of a module, or None: names that are not modules have none, and neither has what was typed in."""
    first, *rest = name.split(".")
    if first != PACKAGE.name:
        path = getattr(sys.modules.get(name), "__file__", None)
        return Path(path) if path and path.endswith(".py") else None
    base = PACKAGE.joinpath(*rest)
    return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None)


def _skeleton(path):
    """The file's syntax tree as text, without docstrings; comments and layout are not in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:]
    return ast.dump(tree)
