"""Fit by rank: the runs that are asked for, and what becomes of their results."""

from dataclasses import replace

from minilora.experiments.rank import lr_sweep
from minilora.experiments.rank.rank_fit import Config, full_run, label, learning_rate, lora_run, run
from minilora.gallery import COMMITTED, load, select

CONFIG = Config(tasks=("roman",), ranks=(2,), seeds=(0,), steps=(3,), lora_rates=((0.01,) * 3,), full_rates=(1e-3,))


def small(function, runs):
    """Few records, so that a run takes a moment."""
    return [function(replace(run, n_train=64, n_eval=16)) for run in runs]


def test_it_trains_what_it_says():
    task = run(CONFIG, small)["tasks"]["roman"]
    assert task["parameters"] == {"2": 23360, "full": 955776}
    assert task["loss"]["2"][0] < task["before"] and task["loss"]["full"][0] < task["before"]


def test_every_task_rank_and_seed_is_run_once():
    asked = []

    def fake(function, runs):
        asked.extend(runs)
        return [{"before": 9.0, "loss": i, "exact": 0.5, "parameters": 1} for i in range(len(runs))]

    numbers = run(Config(), fake)
    assert len(set(asked)) == len(asked) == 2 * (7 + 1) * 3
    assert {run.seed for run in asked} == {0, 1, 2} and lr_sweep.Config().seed not in Config().seeds
    for entry in numbers["tasks"].values():
        assert list(entry["loss"]) == ["1", "2", "4", "8", "16", "32", "64", "full"]
        assert all(len(losses) == 3 for losses in entry["loss"].values())


def test_labels():
    assert label(lora_run("dates", 8, 0.1, 0, 1)) == "8" and label(full_run("dates", 0.1, 0, 1)) == "full"


def test_rates_between_swept_ranks_lie_between_theirs():
    assert learning_rate(8, (1, 8, 64), (0.012, 0.006, 0.003)) == 0.006
    assert learning_rate(4, (1, 16), (0.01, 0.0001)) == 0.001


def test_it_uses_the_rates_that_the_sweep_chose():
    best = load(select(["lr_sweep"])[0], COMMITTED)["numbers"]["best"]
    config = Config()
    for task, rates, full in zip(config.tasks, config.lora_rates, config.full_rates, strict=True):
        assert best[task] == {**dict(zip(map(str, config.swept_ranks), rates, strict=True)), "full": full}
