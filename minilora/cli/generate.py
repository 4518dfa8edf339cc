"""`minilora generate`: what a model says to a prompt, shown as it is said."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator

import numpy as np

from minilora.cli import models, output
from minilora.data import Tokenizer
from minilora.data.tokenizer import first_token_ids
from minilora.nn import stream

HELP = "what a model, with or without an adapter, says to a prompt"
EXAMPLE = 'python -m minilora generate --adapter my_run --prompt "March 7, 1984"'
MAX_NEW_TOKENS = 64
UNFINISHED = "\ufffd"  # how a decoder shows a character of which only the first bytes have come


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--prompt", required=True, metavar="TEXT", help="the input to answer; - reads it from stdin")
    models.add_arguments(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--plain", action="store_true", help="continue the prompt as text instead of answering it")
    how.add_argument(
        "--chat", action="store_true", help="answer as in a conversation, by the model's own chat template"
    )
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help=f"(default: {MAX_NEW_TOKENS}, or what fits)")
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="X", help="0 takes the likeliest (default: 0)"
    )
    parser.add_argument("--top-k", type=int, metavar="N", help="sample from the N likeliest tokens")
    parser.add_argument("--top-p", type=float, metavar="X", help="sample from the likeliest tokens of this probability")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides what is sampled (default: 0)")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the answer, token by token; with --json the whole at the end."""
    out = output.Output(args)
    prompt = sys.stdin.read().rstrip("\n") if args.prompt == "-" else args.prompt
    opened = models.open_with_adapter(args.model, args.adapter)
    model, tokenizer, template, notes = opened
    trained_on_text = bool(notes) and notes.get("template") is None
    if not args.chat and (args.plain or trained_on_text):
        ids = np.concatenate([np.array(first_token_ids(tokenizer), np.int64), tokenizer.encode(prompt)])
        ends = tokenizer.eos_token_id
    else:
        layout = models.chat_template(opened) if args.chat else template
        ids, ends = layout.prompt(prompt, tokenizer), layout.end_token_ids(tokenizer) or None
    room = model.config.max_position_embeddings - len(ids) + 1
    new_tokens = stream(
        model,
        ids[None],
        max(1, min(MAX_NEW_TOKENS, room)) if args.max_new_tokens is None else args.max_new_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        rng=np.random.default_rng(args.seed),
        eos_token_id=ends,
    )
    started, taken = time.perf_counter(), []
    text = ""
    for piece in pieces((taken.append(int(row[0])) or taken[-1] for row in new_tokens), tokenizer):
        text += piece
        if not out.json:
            print(piece, end="", flush=True)
    if not out.json:
        print()
    out.result(
        {"prompt": prompt, "text": text, "tokens": len(taken), "seconds": round(time.perf_counter() - started, 3)}
    )
    return 0


def pieces(token_ids: Iterable[int], tokenizer: Tokenizer) -> Iterator[str]:
    """The text of a stream of tokens, piece by piece; a character is given when all of its bytes have come."""
    seen: list[int] = []
    given = 0
    text = ""
    for token in token_ids:
        seen.append(token)
        text = tokenizer.decode(seen)
        whole = text.rstrip(UNFINISHED)
        if len(whole) > given:
            yield whole[given:]
            given = len(whole)
    if len(text) > given:
        yield text[given:]  # what stayed unfinished
