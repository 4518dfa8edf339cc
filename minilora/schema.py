"""What a file's metadata must look like: each field checked by type and range, every fault named at once.

JSON forgets types (an int is whatever looks like one) and anyone can edit it. So nothing read from a file is used before

    note = schema.check(path, metadata, {
        "step": partial(checks.integer, low=0),
        "method": partial(checks.one_of, choices=("lora", "dora")),
        "config": schema.config(LoraConfig),
        "history": schema.record({"loss": schema.list_of(checks.real)}),
    })

A check is a function (name, value) -> value that raises TypeError or ValueError, as those in `checks` are; what it
returns is what `check` returns. Fields must all be there, and no others, but for those listed as `optional`.
"""

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from minilora import checks

Check = Callable[[str, Any], Any]


def check(
    path: str | os.PathLike, metadata: Any, fields: Mapping[str, Check], optional: Collection[str] = ()
) -> dict[str, Any]:
    """`metadata` with each field checked and converted. One ValueError that names the file and lists every fault."""
    try:
        return record(fields, optional)("", metadata)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has metadata that cannot be used: {error}; save it again or fetch it again") from None


def record(fields: Mapping[str, Check], optional: Collection[str] = ()) -> Check:
    """A check for an object that has exactly these fields; its faults are listed together."""

    def checked(name, value):
        checks.instance(name or "metadata", value, dict)
        prefix = f"{name}." if name else ""
        faults = [f"{prefix}{key} is missing" for key in fields if key not in value and key not in optional]
        faults += [f"{prefix}{_short(key)} is not a field of it" for key in value if key not in fields][:10]
        result = {}
        for key, field in fields.items():
            if key in value:
                try:
                    result[key] = field(prefix + key, value[key])
                except (TypeError, ValueError) as error:
                    faults.append(str(error))
        if faults:
            raise ValueError("; ".join(faults))
        return result

    return checked


def list_of(item: Check, length: int | None = None) -> Check:
    """A check for a list whose every item passes `item`, of a given length if one is given."""

    def checked(name, value):
        checks.instance(name, value, list)
        if length is not None and len(value) != length:
            raise ValueError(f"{name} must have {length} entries, got {len(value)}")
        return [item(f"{name}[{i}]", entry) for i, entry in enumerate(value)]

    return checked


def dict_of(item: Check) -> Check:
    """A check for an object with any keys, whose every value passes `item`."""

    def checked(name, value):
        checks.instance(name, value, dict)
        return {key: item(f"{name}[{_short(key)}]", entry) for key, entry in value.items()}

    return checked


def nullable(item: Check) -> Check:
    """A check that lets null through, as None, and hands everything else to `item`."""
    return lambda name, value: None if value is None else item(name, value)


def config(cls: type, optional: Collection[str] = ()) -> Check:
    """A check that builds the dataclass `cls` from an object with exactly its fields; its own checks decide on values.

    A value that `cls` would replace (null by a default) is refused: a file must hold the values that were used. `optional`: fields that
    files from before they existed lack; they take their default.
    """
    fields = {field.name: _anything for field in dataclasses.fields(cls) if field.init}

    def checked(name, value):
        values = record(fields, optional)(name, value)
        try:
            made = cls(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None
        kept = dataclasses.asdict(made)
        if replaced := [key for key in values if not _same(values[key], kept[key])]:
            raise ValueError(
                f"{name}.{replaced[0]} must be {_short(kept[replaced[0]])}, got {_short(values[replaced[0]])}"
            )
        return made

    return checked


def _same(given, kept):
    """Is `kept` what JSON gave? A list may have become a tuple, and an int a float."""
    if isinstance(given, (list, tuple)) and isinstance(kept, (list, tuple)):
        return len(given) == len(kept) and all(map(_same, given, kept))
    if isinstance(given, Mapping) and isinstance(kept, Mapping):
        return given.keys() == kept.keys() and all(_same(given[key], kept[key]) for key in given)
    return (
        isinstance(given, bool) == isinstance(kept, bool) and (float(given) if type(kept) is float else given) == kept
    )


def _anything(name, value):
    return value


def _short(key):
    text = repr(key)
    return text if len(text) <= 80 else f"{text[:77]}..."
