"""`minilora evaluate`: how well a model, with or without an adapter, does on a file of records or text."""

import argparse

from minilora.cli import models, output, rows
from minilora.training import answers, evaluate

HELP = "how well a model does on a file: loss, and how many answers are exactly right"
EXAMPLE = "python -m minilora evaluate --data held_out.jsonl --adapter my_run"
DEFAULTS = {"input_field": "input", "target_field": "target", "truncation": "input", "batch_size": 32}
FROM_ADAPTER = {"max_length": 128, "completion_only_loss": True}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--data", required=True, metavar="FILE", help="records (.jsonl, .csv) or plain text (.txt)")
    models.add_arguments(parser)
    rows.add_arguments(parser, default_from="the adapter's")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="rows at a time; changes the speed alone (default: 32)"
    )
    parser.add_argument("--show", type=int, default=0, metavar="N", help="also show the answers to the first N inputs")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print loss (nats per token), the share exactly right, and the number of rows."""
    out = output.Output(args)
    model, tokenizer, template, notes = models.open_with_adapter(args.model, args.adapter)
    defaults = DEFAULTS | {name: notes.get(name, default) for name, default in FROM_ADAPTER.items()}
    settings = {
        name: default if getattr(args, name) is None else getattr(args, name) for name, default in defaults.items()
    }
    template = rows.pattern(args.template, template)
    file = rows.read(args.data, settings)
    data, report = rows.encoded(file, range(len(file.records)), tokenizer, template, settings)
    out.say("data", f"{file.path}: {len(data.labels)} {'rows' if data.is_text else 'records'}", *report)
    scores = evaluate(model, data.token_ids, data.labels, batch_size=settings["batch_size"])
    exact = None if data.is_text else scores["exact"]
    result = {"loss": scores["loss"], "exact": exact, "n": len(data.labels)}
    lines = [f"loss      {scores['loss']:.4f} nats per token"]
    if exact is not None:
        lines.append(f"exact     {round(exact * result['n'])} of {result['n']} ({100 * exact:.1f} %)")
    if args.show and not data.is_text:
        some = data.records[: args.show]
        said = answers(
            model,
            [record.input for record in some],
            tokenizer,
            template=template,
            max_new_tokens=_room(some, tokenizer),
        )
        result["answers"] = [
            {"input": record.input, "target": record.target, "answer": answer}
            for record, answer in zip(some, said, strict=True)
        ]
        lines += [
            f"{'right' if record.target == answer else 'wrong':10}{record.input!r} -> {answer!r}"
            + ("" if record.target == answer else f", not {record.target!r}")
            for record, answer in zip(some, said, strict=True)
        ]
    out.result(result, *lines)
    return 0


def _room(records, tokenizer) -> int:
    """Tokens that an answer may take: a little more than the longest target."""
    return max(len(tokenizer.encode(record.target)) for record in records) + 8
