"""Every public function says what it takes and what it gives back: type hints that can be resolved."""

import importlib
import inspect
import pkgutil
import re
import typing

import pytest

import minilora

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(minilora.__path__, "minilora.")
    if not info.name.endswith("__main__") and not any(part.startswith("_") for part in info.name.split("."))
)


def public_functions(module):
    """(name, function) of what is defined in a module without an underscore, and of public methods, __init__ and __call__."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(thing) and not getattr(thing, "_is_protocol", False):
            for key, member in vars(thing).items():
                member = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
                made = getattr(thing, "__dataclass_fields__", None) is not None and key == "__init__"
                if (
                    inspect.isfunction(member)
                    and member.__name__ == key
                    and not made
                    and (key in ("__init__", "__call__") or key[0] != "_")
                ):
                    yield f"{name}.{key}", member
        elif callable(thing) and inspect.isfunction(inspect.unwrap(thing)):
            yield name, inspect.unwrap(thing)


def missing(function):
    signature = inspect.signature(function)
    gaps = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty and name not in ("self", "cls")
    ]
    if signature.return_annotation is signature.empty and function.__name__ != "__init__":
        gaps.append("return")
    return gaps


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_is_hinted(name):
    module = importlib.import_module(name)
    gaps_of = {key: gaps for key, function in public_functions(module) if (gaps := missing(function))}
    assert not gaps_of


@pytest.mark.parametrize("name", MODULES)
def test_hints_can_be_resolved(name):
    module = importlib.import_module(name)
    for _, function in public_functions(module):
        typing.get_type_hints(function)


FACES = ("", ".nn", ".quant", ".adapters", ".training", ".data", ".interop", ".analysis", ".parallel")


@pytest.mark.parametrize("face", FACES)
def test_what_checks_its_arguments_says_what_it_raises(face):
    package = importlib.import_module(f"minilora{face}")
    silent = []
    for name in package.__all__:
        thing = getattr(package, name)
        if callable(thing) and (inspect.isclass(thing) or inspect.isfunction(thing)):
            checked = re.search(r"\braise \w+Error|\bchecks\.\w+\(", inspect.getsource(thing))
            if checked and not re.search(r"Error|[Rr]aise", inspect.getdoc(thing) or ""):
                silent.append(name)
    assert not silent
