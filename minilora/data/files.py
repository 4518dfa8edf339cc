"""From your own file to records: JSONL, CSV or plain text, with an account of every line."""

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minilora import checks
from minilora.data.records import Record

SUFFIXES = (".jsonl", ".csv", ".txt")


@dataclass(frozen=True)
class DataFile:
    """What a file holds. `records[i]` started on line `lines[i]` (counted from 1); `blank` lists the lines passed over.

    A text file has one record per paragraph, with an empty input; `is_text` is then True.
    """

    path: Path
    records: list[Record]
    lines: list[int]
    blank: list[int] = field(default_factory=list)

    @property
    def is_text(self) -> bool:
        return self.path.suffix == ".txt"


def load_records(path: str | os.PathLike, *, input_field: str = "input", target_field: str = "target") -> list[Record]:
    """Records of a .jsonl file (one object per line) or a .csv file (a header line), with the two fields named.

    UTF-8, with or without a byte-order mark; blank lines are passed over. ValueError names file, line and remedy.
    """
    return read_file(path, input_field=input_field, target_field=target_field, suffixes=(".jsonl", ".csv")).records


def read_file(
    path: str | os.PathLike,
    *,
    input_field: str = "input",
    target_field: str = "target",
    suffixes: Sequence[str] = SUFFIXES,
) -> DataFile:
    """A .jsonl, .csv or .txt file, with the line of each record and the lines that were passed over.

    Text is split into paragraphs at blank lines, or into lines where there is no blank one. FileNotFoundError, or
    ValueError that names the file, the line and the reason: not UTF-8, not JSON, not an object, a field missing (and
    which there are), a field that is not text or is empty.
    """
    path = Path(checks.path("path", path))
    input_field, target_field = checks.string("input_field", input_field), checks.string("target_field", target_field)
    suffixes = checks.sequence("suffixes", checks.strings("suffixes", suffixes))
    if path.suffix not in suffixes:
        raise ValueError(f"path must end in {' or '.join(suffixes)}, got {str(path)!r}")
    if path.is_dir():
        raise ValueError(f"path must be a file, got the folder {str(path)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; check the path")
    text = _decoded(path)
    if path.suffix == ".txt":
        return _paragraphs(path, text)
    rows = _csv_rows(path, text) if path.suffix == ".csv" else _json_rows(path, text)
    records, lines, blank = [], [], []
    for line, row in rows:
        if row is None:
            blank.append(line)
            continue
        records.append(Record(*(_text_of(path, line, row, name) for name in (input_field, target_field))))
        lines.append(line)
    if not records:
        raise ValueError(f"{path} holds no records; give it lines with {input_field} and {target_field}")
    return DataFile(path, records, lines, blank)


def hold_out(records: Sequence[Record], fraction: float, *, seed: int) -> tuple[list[int], list[int]]:
    """(training places, held-out places): about `fraction` of the records, drawn by `seed`, and no input in both.

    Records with the same input stay together (for text, equal paragraphs do). Both are in the order of `records`.
    ValueError if that leaves one of them empty.
    """
    fraction = checks.real("fraction", fraction, above=0, below=1, hint="try 0.1")
    records = checks.sequence("records", records, hint="load_records(path) gives them")
    for i, record in enumerate(records):
        checks.instance(f"records[{i}]", record, Record)
    keys = [record.input or record.target for record in records]
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    groups = list(places.values())
    rng = np.random.default_rng(checks.integer("seed", seed, low=0))
    wanted, held_out = max(1, round(fraction * len(records))), []
    for i in rng.permutation(len(groups)):
        if len(held_out) >= wanted:
            break
        held_out += groups[i]
    taken = set(held_out)
    training = [place for place in range(len(records)) if place not in taken]
    if not training or not held_out:
        raise ValueError(
            f"records must have at least two different inputs to hold some out, got {len(groups)}; "
            "give it more records, or a held-out file"
        )
    return training, sorted(held_out)


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from error


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    # Not splitlines(): JSON strings may hold U+2028, at which it would split.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            if number <= text.count("\n"):  # what follows the last line break is not a line
                yield number, None
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error}); each line must be one object") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: must be an object with fields, got {checks.shown(row)}")
        yield number, row


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header, before = None, 0
    try:
        for cells in reader:
            first, before = before + 1, reader.line_num  # a quoted field may run over several lines
            if not cells:
                yield first, None
            elif header is None:
                header = cells
            elif len(cells) != len(header):
                raise ValueError(f"{path}, line {first}: has {len(cells)} fields where the header has {len(header)}")
            else:
                yield first, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not CSV ({error})") from error


def _text_of(path: Path, line: int, row: dict[str, Any], name: str) -> str:
    if name not in row:
        raise ValueError(
            f"{path}, line {line}: there is no field {name!r}; its fields are {', '.join(map(repr, row)) or 'none'}; "
            "name the ones to use: input_field and target_field, or --input-field and --target-field"
        )
    if not isinstance(row[name], str) or not row[name]:
        raise ValueError(
            f"{path}, line {line}: {name!r} must be a text that is not empty, got {checks.shown(row[name])}"
        )
    return row[name]


def _paragraphs(path: Path, text: str) -> DataFile:
    """Runs of lines between blank ones; each line by itself where that would be one paragraph alone."""
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1)]
    groups: list[list[tuple[int, str]]] = [[]]
    for number, line in lines:
        if line.strip():
            groups[-1].append((number, line))
        elif groups[-1]:
            groups.append([])
    groups = [group for group in groups if group]
    if not groups:
        raise ValueError(f"{path} holds no text; give it at least one line")
    if len(groups) == 1:
        groups = [[item] for item in groups[0]]
    records = [Record("", "\n".join(line for _, line in group)) for group in groups]
    return DataFile(path, records, [group[0][0] for group in groups])
