"""`minilora chat`: a conversation with a model, in the terminal."""

import argparse
import sys
import time

import numpy as np

from minilora.cli import models
from minilora.cli.generate import pieces
from minilora.data import Message
from minilora.nn import decoder_for, stream

HELP = "talk to a model that has a chat template"
EXAMPLE = "python -m minilora chat --model SmolLM2-135M-Instruct.Q4_1.gguf"
MAX_NEW_TOKENS = 256
CONVERSATION = 1000  # tokens that are generated in one, about: weights are laid out for them once
PROMPT = "> "
FORGET, QUIT = "/new", "/quit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    models.add_arguments(parser)
    parser.add_argument("--system", metavar="TEXT", help="the system message (default: the template's own)")
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        default=MAX_NEW_TOKENS,
        metavar="N",
        help="at most so many in an answer; the oldest turns make room for them, for half of the model's positions at "
        f"most (default: {MAX_NEW_TOKENS})",
    )
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="X", help="0 takes the likeliest (default: 0)"
    )
    parser.add_argument("--top-k", type=int, metavar="N", help="sample from the N likeliest tokens")
    parser.add_argument("--top-p", type=float, metavar="X", help="sample from the likeliest tokens of this probability")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides what is sampled (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Read a line, answer it as it is generated, and read the next, until the end of the input or /quit."""
    opened = models.open_with_adapter(args.model, args.adapter)
    template = models.chat_template(opened)
    rng = np.random.default_rng(args.seed)
    decoder = decoder_for(opened.model, CONVERSATION)
    terminal = sys.stdin.isatty()
    if terminal:
        print(f"{FORGET} begins a new conversation, {QUIT} ends it.")
    messages: list[Message] = []
    while (line := _line(terminal)) is not None and line != QUIT:
        if line == FORGET:
            messages = []
            continue
        if not line:
            continue
        messages.append(Message("user", line))
        started, taken, text = time.perf_counter(), 0, ""
        for piece, taken in _answer(opened, decoder, template, messages, args, rng):  # noqa: B007, the last count is shown
            text += piece
            print(piece, end="", flush=True)
        print()
        if terminal:
            print(f"({taken} tokens, {taken / (time.perf_counter() - started):.1f} per second)")
        messages.append(Message("assistant", text))
    return 0


def stopped(args: argparse.Namespace) -> str:
    """What Ctrl-C leaves behind."""
    return "nothing of the conversation is kept"


def _line(terminal):
    """The next line that the user says; None at the end."""
    if terminal:
        print(PROMPT, end="", flush=True)
    line = sys.stdin.readline()
    return line.strip() if line else None


def _answer(opened, decoder, template, messages, args, rng):
    """Pieces of the answer, each with the number of tokens so far. The oldest turns are left out where there is no room."""
    model, tokenizer = opened.model, opened.tokenizer
    limit = model.config.max_position_embeddings
    wanted = min(args.max_new_tokens, limit // 2)  # more would cost every earlier turn, however short the answer is
    system = [] if args.system is None else [Message("system", args.system)]
    before = len(messages)
    while True:
        ids = template.conversation([*system, *messages], tokenizer)
        room = limit - len(ids) + 1
        if room >= wanted or len(messages) == 1:
            break
        del messages[:2]
    if room < 1:
        raise ValueError(
            f"a message must leave room for an answer in {limit} positions, got {len(ids)} tokens; shorten it"
        )
    if dropped := before - len(messages):
        # not on stdout, which holds the answers alone where it is a pipe
        print(f"(left out the oldest {dropped} turns, for the model reads at most {limit} tokens)", file=sys.stderr)
    taken = 0

    def tokens():
        nonlocal taken
        new = stream(
            model,
            ids[None],
            min(args.max_new_tokens, room),
            temperature=args.temperature,
            top_k=args.top_k,
            top_p=args.top_p,
            rng=rng,
            eos_token_id=template.end_token_ids(tokenizer),
            decoder=decoder,
        )
        for row in new:
            taken += 1
            yield int(row[0])

    for piece in pieces(tokens(), tokenizer):
        yield piece, taken
