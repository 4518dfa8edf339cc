"""Input/target records: from files, to batches, and how many came out exactly right."""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilora import checks
from minilora.data.tokenizer import ByteTokenizer


class Record(NamedTuple):
    """One example: what is given, and what has to come out."""

    input: str
    target: str


def load_records(path: str | os.PathLike) -> list[Record]:
    """Records of a .jsonl file (one object a line) or a .csv file (a header line), with fields input and target.

    UTF-8, with or without a byte-order mark; blank lines are passed over. ValueError names file, line and mend.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".csv"):
        raise ValueError(f"path must end in .jsonl or .csv, got {str(path)!r}")
    records = []
    with open(path, encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            rows = csv.DictReader(file)
            numbered = ((rows.line_num, row) for row in rows)
        else:
            numbered = ((i, _json(path, i, line)) for i, line in enumerate(file, 1) if line.strip())
        for line, row in numbered:
            fields = [row.get(name) if isinstance(row, dict) else None for name in Record._fields]
            if not all(isinstance(field, str) and field for field in fields):
                raise ValueError(f"{path}, line {line}: needs the fields input and target, both text; got {row!r:.80}")
            records.append(Record(*fields))
    if not records:
        raise ValueError(f"{path} holds no records; give it lines with input and target")
    return records


def encode_records(
    records: Sequence[Record], tokenizer: ByteTokenizer, *, max_length: int = 128, truncation: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """`bos input sep target eos` a row, padded on the right; labels are shifted and count from the target on.

    -> token_ids, labels: (N, T) int64. The model is causal, so padding on the right needs no mask. A row longer than
    `max_length` is an error, or with `truncation` loses the start of its input (never of its target).
    """
    if not records:
        raise ValueError("records must not be empty")
    rows = []
    for number, (given, target) in enumerate(records):
        head, tail = tokenizer.encode(given), np.append(tokenizer.encode(target), tokenizer.eos_token_id)
        too_long = 2 + len(head) + len(tail) - 1 - checks.integer("max_length", max_length, low=2)
        if too_long > 0:
            if not truncation or too_long > len(head):
                raise ValueError(
                    f"records[{number}] needs {max_length + too_long} tokens, more than max_length = {max_length}; "
                    "raise max_length, shorten it, or pass truncation=True to cut inputs"
                )
            head = head[too_long:]
        ids = np.concatenate([[tokenizer.bos_token_id], head, [tokenizer.sep_token_id], tail])
        rows.append((ids, len(head) + 1))
    width = max(len(ids) for ids, _ in rows) - 1
    token_ids = np.full((len(rows), width), tokenizer.pad_token_id, np.int64)
    labels = np.full((len(rows), width), -100, np.int64)
    for row, (ids, start) in enumerate(rows):
        token_ids[row, : len(ids) - 1] = ids[:-1]
        labels[row, start : len(ids) - 1] = ids[start + 1 :]
    return token_ids, labels


def exact_match(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows whose every counted label has the largest logit.    logits: (N, T, V)   labels: (N, T)

    Greedy decoding produces a target exactly if and only if, given the target so far, each next token has the
    largest logit (induction over its length), so one forward tells what generating would, without generating.
    """
    right = (np.argmax(logits, axis=-1) == labels) | (labels == -100)
    return float(right.all(axis=-1).mean())


def _json(path, number, line):
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: no JSON ({error}); each line must be one object") from error
