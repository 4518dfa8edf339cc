"""From data files to the rows that are trained on and held out, with an account of every line."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilora.cli import models
from minilora.data import DataFile, Layout, Record, Tokenizer, encode, encode_text, hold_out, read_file

SHOWN_LINES = 8  # line numbers that a report lists


class Rows(NamedTuple):
    """Encoded records. token_ids, labels: (N, T). `records`: what they were made of; a text's are its paragraphs."""

    token_ids: np.ndarray
    labels: np.ndarray
    records: list[Record]
    is_text: bool


def add_arguments(parser: argparse.ArgumentParser, *, default_from: str = "") -> None:
    """Declare how a data file is read and encoded; `default_from` says where defaults come from, in the help."""
    say = f"default: {default_from}" if default_from else "default: %s"
    parser.add_argument("--input-field", metavar="NAME", help="the field that holds the input (default: input)")
    parser.add_argument("--target-field", metavar="NAME", help="the field that holds the target (default: target)")
    parser.add_argument(
        "--template",
        metavar="PATTERN",
        help="how input and target are joined, such as '{input}\\n{target}{eos}'; \\n is a line break "
        f"({say.replace('%s', 'bos, input, sep, target, eos, or the chat template of the model')})",
    )
    parser.add_argument("--max-length", type=int, metavar="N", help=f"tokens in a row ({say.replace('%s', '128')})")
    parser.add_argument(
        "--truncation",
        choices=("input", "error", "drop"),
        help="what becomes of a row that is too long: its input loses its start, it is an error, or, where even its "
        "target does not fit, it is left out (default: input)",
    )
    parser.add_argument(
        "--completion-only-loss",
        action=argparse.BooleanOptionalAction,
        help=f"count the target alone, or everything ({say.replace('%s', 'the target')})",
    )


def read(path: str, settings: dict[str, Any]) -> DataFile:
    """The data file at `path`, with the fields that `settings` name."""
    return read_file(path, input_field=settings["input_field"], target_field=settings["target_field"])


def encoded(
    file: DataFile, places: Sequence[int], tokenizer: Tokenizer, template: Layout, settings: dict[str, Any]
) -> tuple[Rows, list[str]]:
    """(rows, report) of the records at `places`. ValueError that names file and line of the first that does not fit."""
    records = [file.records[place] for place in places]
    max_length = settings["max_length"]
    if file.is_text:
        token_ids, labels = encode_text([r.target for r in records], tokenizer, max_length=max_length)
        return Rows(token_ids, labels, records, True), []
    try:
        row = encode(
            records,
            tokenizer,
            template=template,
            max_length=max_length,
            truncation="drop",
            completion_only_loss=settings["completion_only_loss"],
        )
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from error
    cut, dropped = ([file.lines[places[i]] for i in which] for which in (row.cut, row.dropped))
    if dropped and settings["truncation"] != "drop":
        raise ValueError(
            f"{file.path}, line {dropped[0]}: its target alone needs more than --max-length {max_length} tokens"
            f"{_as_well(dropped)}; raise --max-length, shorten it, or pass --truncation drop"
        )
    if cut and settings["truncation"] == "error":
        raise ValueError(
            f"{file.path}, line {cut[0]}: needs more than --max-length {max_length} tokens{_as_well(cut)}; "
            "raise --max-length, or pass --truncation input"
        )
    report = []
    if cut:
        report.append(f"{len(cut)} inputs lost their start to fit {max_length} tokens: {listed(cut)}")
    if dropped:
        report.append(f"{len(dropped)} records left out, for their target does not fit: {listed(dropped)}")
    return Rows(row.token_ids, row.labels, [records[i] for i in row.kept], False), report


def split(
    data: str, eval_data: str | None, tokenizer: Tokenizer, template: Layout, settings: dict[str, Any]
) -> tuple[Rows, Rows, list[str]]:
    """(rows to train on, held-out rows, report): held out is `eval_data`, or a share of `data` drawn by the seed."""
    file = read(data, settings)
    kind = "paragraphs" if file.is_text else "records"
    report = [f"{file.path}: {len(file.records)} {kind}"]
    if file.blank:
        report.append(f"{len(file.blank)} blank lines passed over: {listed(file.blank)}")
    if eval_data is None:
        training_places, held_out_places = hold_out(file.records, settings["eval_fraction"], seed=settings["seed"])
        other = file
    else:
        other = read(eval_data, settings)
        if other.is_text != file.is_text:
            raise ValueError(f"{data} and {eval_data} must both hold records or both text")
        training_places, held_out_places = range(len(file.records)), range(len(other.records))
        seen = {record.input or record.target for record in file.records}
        if shared := [
            line
            for record, line in zip(other.records, other.lines, strict=True)
            if (record.input or record.target) in seen
        ]:
            report.append(f"{len(shared)} of the held-out inputs are trained on, too ({other.path}: {listed(shared)})")
    training, said = encoded(file, training_places, tokenizer, template, settings)
    held_out, said_too = encoded(other, held_out_places, tokenizer, template, settings)
    report += said + [f"held out: {line}" for line in said_too]
    unit = "rows" if file.is_text else "records"
    where = f"drawn by seed {settings['seed']}" if eval_data is None else str(Path(eval_data))
    report.append(f"{len(training.labels)} {unit} to train on, {len(held_out.labels)} held out ({where})")
    return training, held_out, report


def pattern(text: str | None, own: Layout) -> Layout:
    r"""The template of --template, where \n and \t stand for a line break and a tab; without one, the model's own."""
    return own if text is None else models.to_template(text.replace("\\n", "\n").replace("\\t", "\t"))


def listed(lines: Sequence[int]) -> str:
    """Line numbers for a report: "lines 3, 7, 12", shortened."""
    shown = ", ".join(map(str, lines[:SHOWN_LINES]))
    return f"{'line' if len(lines) == 1 else 'lines'} {shown}{', ...' if len(lines) > SHOWN_LINES else ''}"


def _as_well(lines):
    return f" (so do {len(lines) - 1} more)" if len(lines) > 1 else ""
