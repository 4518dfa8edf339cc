"""Input/target records and plain text, as rows of tokens and of the labels that the loss counts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilora import checks
from minilora.data.template import Layout, Template
from minilora.data.tokenizer import Tokenizer, check_tokenizer, first_token_ids

IGNORED = -100  # a label that does not count, as in PyTorch and Hugging Face


class Record(NamedTuple):
    """One example: what is given, and what has to come out."""

    input: str
    target: str


class Encoded(NamedTuple):
    """Rows of tokens, and what became of each record. Places count from 0.

    `token_ids`, `labels`: (N, T) int64, padded on the right. `kept`: the place of each row's record. `cut`: places of
    records whose input lost its start. `dropped`: places of records that were left out, for even their target was too long.
    """

    token_ids: np.ndarray
    labels: np.ndarray
    kept: list[int]
    cut: list[int]
    dropped: list[int]


def encode_records(
    records: Sequence[tuple[str, str]],
    tokenizer: Tokenizer,
    *,
    template: Layout | None = None,
    max_length: int = 128,
    truncation: bool = False,
    completion_only_loss: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """One row per record, `bos input sep target eos` unless `template` says otherwise -> token_ids, labels: (N, T) int64.

    Labels are shifted (labels[t] is the token after token_ids[t]) and count from the target on, or everywhere with
    `completion_only_loss=False`; all others are -100. The model is causal, so padding on the right needs no mask.
    A row longer than `max_length` is an error, or with `truncation` loses the start of its input, never of its target.
    ValueError or TypeError that names the record.
    """
    encoded = encode(
        records,
        tokenizer,
        template=template,
        max_length=max_length,
        truncation="input" if checks.boolean("truncation", truncation) else "error",
        completion_only_loss=completion_only_loss,
    )
    return encoded.token_ids, encoded.labels


def encode(
    records: Sequence[tuple[str, str]],
    tokenizer: Tokenizer,
    *,
    template: Layout | None = None,
    max_length: int = 128,
    truncation: str = "error",
    completion_only_loss: bool = True,
) -> Encoded:
    """`encode_records`, with an account of what was cut or dropped.

    `truncation`: "error", "input" (the input loses its start; an error where that is not enough), or "drop" (as "input",
    and where that is not enough the record is left out). ValueError names the record, its length and what to change.
    """
    if isinstance(records, str) or not isinstance(records, Sequence):
        raise TypeError(f"records must be a list of (input, target) pairs, got {checks.shown(records)}")
    if not records:
        raise ValueError("records must not be empty; give it at least one (input, target) pair")
    max_length = checks.integer("max_length", max_length, low=2)
    checks.one_of("truncation", truncation, ("error", "input", "drop"))
    checks.boolean("completion_only_loss", completion_only_loss)
    check_tokenizer("tokenizer", tokenizer)
    if template is not None:
        checks.instance("template", template, Layout, hint="such as Template() or ChatTemplate()")
    template = Template.suited_to(tokenizer) if template is None else template
    rows, kept, cut, dropped = [], [], [], []
    for number, record in enumerate(records):
        ids, start = template.encode(_pair(number, record), tokenizer)
        too_long = len(ids) - 1 - max_length  # the last token is predicted, never read
        if too_long > 0:
            fits = len(tokenizer.encode(record[0])) >= too_long
            if truncation == "error" or (truncation == "input" and not fits):
                remedy = "pass truncation=True to cut inputs" if fits else "shorten its target"
                raise ValueError(
                    f"records[{number}] needs {len(ids) - 1} tokens, more than max_length = {max_length}; "
                    f"raise max_length, or {remedy}"
                )
            if not fits:
                dropped.append(number)
                continue
            ids, start = template.encode(record, tokenizer, cut=too_long)
            cut.append(number)
        rows.append((ids, max(1, start if completion_only_loss else 1)))
        kept.append(number)
    if not rows:
        raise ValueError(f"max_length must leave room for a target, got {max_length}: every record was dropped")
    return Encoded(*_padded(rows, tokenizer), kept, cut, dropped)


def encode_text(
    paragraphs: Sequence[str], tokenizer: Tokenizer, *, max_length: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """Plain text for continued pretraining: paragraphs one after another, cut into rows of `max_length` tokens.

    -> token_ids, labels: (N, T) int64. Every token counts, and each is predicted once: a row starts at the last label
    of the row before. Paragraphs are separated by an empty line; `bos` stands before the first (unless the tokenizer says
    `add_bos_token = False`), `eos` after the last.
    ValueError or TypeError for no text, or a `max_length` below 2.
    """
    paragraphs = checks.strings("paragraphs", paragraphs)
    check_tokenizer("tokenizer", tokenizer)
    if not paragraphs:
        raise ValueError("paragraphs must not be empty; give it at least one text")
    max_length = checks.integer("max_length", max_length, low=2)
    eos = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    tokens = np.concatenate([first_token_ids(tokenizer), tokenizer.encode("\n\n".join(paragraphs)), eos]).astype(
        np.int64
    )
    if len(tokens) < 2:
        raise ValueError(f"paragraphs must hold at least two tokens, got {len(tokens)}; give it more text")
    starts = range(0, len(tokens) - 1, max_length)
    return _padded([(tokens[start : start + max_length + 1], 1) for start in starts], tokenizer)


def _padded(rows, tokenizer):
    """(ids, first counted) of each row -> token_ids, labels.    ids: (T + 1,)   token_ids, labels: (N, T)"""
    width = max(len(ids) for ids, _ in rows) - 1
    padding = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id  # whatever it is, no label counts there
    token_ids = np.full((len(rows), width), padding, np.int64)
    labels = np.full((len(rows), width), IGNORED, np.int64)
    for row, (ids, start) in enumerate(rows):
        token_ids[row, : len(ids) - 1] = ids[:-1]
        labels[row, start - 1 : len(ids) - 1] = ids[start:]
    return token_ids, labels


def _pair(number, record):
    if not isinstance(record, (tuple, list)) or len(record) != 2 or not all(isinstance(text, str) for text in record):
        raise TypeError(f"records[{number}] must be an (input, target) pair of str, got {checks.shown(record)}")
    return record
