"""Every committed JSON holds the runs that its config names: no seed, rate, method or code is missing, and none is extra.

The experiment is run again with stand-ins for its runs, which take no time and give results of the right form; what comes
of them must have the keys and the lengths of what is committed. Figures that take seconds are computed again by
`figures --check --fast`, which compares their numbers, too.
"""

import json
from collections.abc import Iterator
from dataclasses import is_dataclass

import pytest

from minilora import gallery
from minilora.experiments.finetuning import Run
from minilora.experiments.quantization.quantized_loss import held_out
from minilora.gallery.build import rounded

SWEPT = {
    "rates",
    "sweep",
}  # a sweep continues beyond an end that is best: it has at least the rates that it starts with
KINDS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SLOW = [figure for figure in gallery.FIGURES if not figure.fast]


def run_result(run):
    """What a fine-tuning run gives, and what the studies that measure more add to it."""
    steps = range(run.eval_steps or run.steps, run.steps + 1, run.eval_steps or run.steps)
    scores = {"loss": 1.0, "exact": 0.5, "text": 2.0, "size": 0.1}
    if run.score_training:
        scores |= {"train_loss": 1.0, "train_exact": 0.5}
    return {
        "before": 9.0,
        "parameters": 7,
        "curve": [{"step": step} | scores for step in steps],
        "gradient": {"lora_A": [0.0] * run.steps, "lora_B": [1.0] * run.steps},
        "alphas": {kind: [8.0] * 5 for kind in KINDS},
        "text_before": 1.5,
    } | scores


def optimal_code(item):
    config, *_ = item
    codes = dict.fromkeys([*config.codes, "pinned", "signed"], 0.1)
    measures = ("mean absolute", "rms")
    levels = {f"{name}, {measure}": [0.0] * 16 for name in ("pinned", "signed") for measure in measures}
    return {"use": [1 / 16] * 16, "error": dict.fromkeys(measures, codes), "levels": levels}


def error_by_bits(item):
    config, *_ = item
    entry = {key: [1.0] * len(config.block_sizes) for key in ("bits", "rms", "mae")}
    return {name: dict(entry) for name in (*config.codes, "nf4 double", "lloyd", "lloyd signed")}


def quantized_loss(item):
    _, windows = item
    found = len(held_out(windows)[0])  # fewer where this Python's documentation, which the text is from, is shorter
    return {"losses": [1.0] * found, "bits": 4.0, "error": 0.1}


def qlora(item):
    if is_dataclass(item):
        return run_result(item) if isinstance(item, Run) else {"before": 1.5, "loss": 1.2}
    _, windows = item
    return {"bytes": 7, "bits": 4.5, "losses": [1.0] * windows}


def better_starts(item):
    return run_result(item) if isinstance(item, Run) else {"error": 0.1, "losses": [1.0] * item[-1].windows}


def methods(item):
    runs, _ = item
    return [1.0] * len(runs)


def counted(run):
    return {"parameters": 7, "memory": dict.fromkeys(("weights", "gradients", "optimizer", "activations"), 1)}


def rate_by_rank(item):
    if is_dataclass(item):
        return run_result(item)
    _, config = item
    sizes = {rule: [0.1] * len(config.first_step_ranks) for rule in ("alpha = r", "alpha = 32", "rsLoRA")}
    return {"ranks": list(config.first_step_ranks), "adam": sizes, "gradient descent": sizes}


def capacity(item):
    return {"loss": abs(item.learning_rate - 0.068), "bits": 1.0, "known": 0.5}  # the sweep ends where it starts


def finetune_defaults(item):
    return {"held_out": 0.5, "exact": 0.5, "loss": 1.0, "train_loss": 0.1}


def trouble(item):
    if isinstance(item, Run):
        return run_result(item)
    if is_dataclass(item):
        return run_result(item.run) | {"train": [1.0] * (item.run.steps // item.run.eval_steps)}
    return {"counted": dict.fromkeys(("weights", "gradients", "optimizer", "activations"), 1), "peak": 1}


def delta_spectrum(item):
    _, config = item
    methods = (*map(str, config.ranks), "full_linears")
    layers = dict.fromkeys(methods, [0.1] * 35)
    phi = [[0.5] * len(config.kept)] * config.ranks[0]
    return {
        "modules": ["q_proj"] * 35,
        "loss": dict.fromkeys(methods, 0.1),
        "size": layers,
        "left": [[0.1] * len(config.kept)] * 35,
        "intruders": {"trained": layers, "random": layers},
        "amplification": {"trained": layers, "random": layers},
        "similarity": {"drawn": phi, "trained": phi},
    }


STAND_INS = {
    "rate_by_rank": rate_by_rank,
    "capacity": capacity,
    "delta_spectrum": delta_spectrum,
    "optimal_code": optimal_code,
    "error_by_bits": error_by_bits,
    "quantized_loss": quantized_loss,
    "qlora": qlora,
    "better_starts": better_starts,
    "methods": methods,
    "finetune_defaults": finetune_defaults,
    "trouble": trouble,
}


def stand_in(figure):
    """The stand-in of a figure's runs; a fine-tuning run needs none of its own."""

    def each(function, items):
        items = list(items)
        own = STAND_INS.get(figure.name)
        if own is None and not all(isinstance(item, Run) for item in items):
            pytest.skip(f"STAND_INS has none for the runs of {figure.name}; add what one of them gives")
        if figure.name == "methods" and function.__name__ == "counted":
            own = counted
        elif figure.name == "methods" and all(isinstance(item, Run) for item in items):
            own = run_result
        return [(own or run_result)(item) for item in items]

    return each


def missing(stored, named, path="") -> Iterator[str]:
    """Where two trees differ in keys or lengths, or a number stands instead of a list."""
    if isinstance(named, dict) and isinstance(stored, dict):
        if stored.keys() != named.keys():
            yield f"{path}: stored {sorted(stored)}, the config names {sorted(named)}"
        for key in stored.keys() & named.keys():
            yield from missing(stored[key], named[key], f"{path}/{key}")
    elif isinstance(named, list) and isinstance(stored, list):
        name = next(part for part in [*reversed(path.split("/")), ""] if not part.isdigit())
        deepest = not any(
            isinstance(entry, list) for entry in named
        )  # a list of sweeps has as many as the config names
        swept = name in SWEPT and deepest and len(stored) > len(named)
        if len(stored) != len(named) and not swept:
            yield f"{path}: stored {len(stored)}, the config names {len(named)}"
        for i, (one, other) in enumerate(zip(stored, named, strict=False)):
            yield from missing(one, other, f"{path}/{i}")
    elif isinstance(named, (dict, list)) or isinstance(stored, (dict, list)):
        yield f"{path}: stored {stored!r:.40}, the config names {named!r:.40}"


@pytest.mark.parametrize("figure", SLOW, ids=lambda figure: figure.name)
def test_the_committed_numbers_hold_the_runs_that_the_config_names(figure):
    named = rounded(figure.experiment.run(figure.experiment.Config(), stand_in(figure)))
    stored = gallery.load(figure, gallery.COMMITTED)["numbers"]
    assert list(missing(stored, json.loads(json.dumps(named)))) == []


def test_a_missing_seed_rate_or_method_is_seen():
    (rank_fit,) = gallery.select(["rank_fit"])
    named = rounded(rank_fit.experiment.run(rank_fit.experiment.Config(), stand_in(rank_fit)))
    stored = json.loads(json.dumps(named))
    some = next(iter(stored["loss"]))
    stored["loss"][some][0].pop()
    stored["exact"].pop(some)
    one, two = sorted(missing(stored, named))
    assert "/exact: stored" in one and f"/loss/{some}/0: stored 2, the config names 3" in two


def test_a_sweep_may_hold_more_rates_than_it_starts_with_and_not_fewer():
    named = {"rates": [1, 2, 3], "loss": [1, 2, 3]}
    assert list(missing(named | {"rates": [1, 2, 3, 4]}, named)) == []
    assert list(missing(named | {"rates": [1, 2]}, named)) == ["/rates: stored 2, the config names 3"]
    assert list(missing(named | {"loss": [1, 2, 3, 4]}, named)) == ["/loss: stored 4, the config names 3"]
    sweeps = {"sweep": [[1, 2, 3], [1, 2, 3]]}
    assert list(missing({"sweep": [[1, 2, 3, 4], [1, 2, 3]]}, sweeps)) == []
    assert list(missing({"sweep": [[1, 2, 3]] * 3}, sweeps)) == ["/sweep: stored 3, the config names 2"]
    assert list(missing({"loss": 1.0}, {"loss": [1.0]})) == ["/loss: stored 1.0, the config names [1.0]"]


def test_all_figures_fit_into_four_hours_of_two_cores():
    """By the processor's seconds that each file records of its runs."""
    seconds = [gallery.load(figure, gallery.COMMITTED)["provenance"].get("seconds") or 0 for figure in gallery.FIGURES]
    assert sum(seconds) < 2 * 4 * 3600
