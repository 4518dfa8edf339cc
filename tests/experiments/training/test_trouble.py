"""Every trouble has its runs and its remedies: one setting differs, faults act on the data alone, curves start at the base."""

from dataclasses import fields, replace

import numpy as np

from minilora.data import ByteTokenizer, encode_records, split
from minilora.data.records import IGNORED
from minilora.experiments.finetuning import Run, train
from minilora.experiments.training.trouble import (
    Config,
    Faulty,
    curve,
    good,
    planned,
    run,
    shifted_twice,
    shuffled,
    train_faulty,
)

CONFIG = Config()
SMALL = {"steps": 4, "batch_size": 4, "n_train": 16, "n_eval": 4, "eval_steps": 2}


def changed(one, other):
    return {field.name for field in fields(one) if getattr(one, field.name) != getattr(other, field.name)}


def test_a_remedy_changes_one_setting():
    group = planned(CONFIG)["divergence"]
    high, warm, clipped, both, low = group.values()
    assert changed(high, warm) == {"warmup_steps"} and changed(high, clipped) == {"max_grad_norm"}
    assert changed(high, both) == {"warmup_steps", "max_grad_norm"} and changed(high, low) == {"learning_rate"}
    slow, alpha, right = planned(CONFIG)["rate too low"].values()
    assert changed(slow, alpha) == {"settings"} and changed(slow, right) == {"learning_rate"} and right == good(CONFIG)
    assert set(alpha.settings) ^ set(slow.settings) == {("lora_alpha", 8), ("lora_alpha", 32)}
    few, more, most, slower = planned(CONFIG)["too few steps"].values()
    assert few.steps < more.steps < most.steps and changed(few, slower) == {"learning_rate"}


def test_ranks_stand_at_their_own_rates():
    runs = planned(CONFIG)["rank and targets"]
    assert {name: one.learning_rate for name, one in runs.items()} == {f"r = {r}": rate for r, rate in CONFIG.rates}
    assert all(dict(one.settings)["r"] == dict(one.settings)["lora_alpha"] for one in runs.values())


def test_faults_spoil_targets_and_labels_and_nothing_else():
    records, _ = split("roman", 64, 1, seed=0)
    ids, labels = encode_records(records, ByteTokenizer())
    mixed, mixed_labels = shuffled(records, 0)
    targets = [tuple(row[row != IGNORED]) for row in labels]
    wrong = [tuple(row[row != IGNORED]) for row in mixed_labels]
    assert sorted(wrong) == sorted(targets) and np.mean([a != b for a, b in zip(wrong, targets, strict=True)]) > 0.9
    assert np.array_equal(mixed[:, 0], ids[:, 0])
    twice, twice_labels = shifted_twice(records, 0)
    assert np.array_equal(twice, ids) and np.array_equal(twice_labels[:, :-1], labels[:, 1:])
    assert (twice_labels != IGNORED).sum() == (labels != IGNORED).sum()


def test_a_faulty_run_notes_the_loss_that_its_trainer_sees():
    one = replace(good(CONFIG), **SMALL)
    result = train_faulty(Faulty(one, "shifted twice"))
    assert len(result["train"]) == len(result["curve"]) == 2 and result["before"] == train(one)["before"]
    assert result["loss"] != train(one)["loss"] and result["train"][0] > 0


def test_a_curve_starts_at_the_base_and_ends_in_none_where_a_run_diverged():
    whole = {"before": 6.0, "curve": [{"step": 2, "loss": 3.0}, {"step": 4, "loss": 2.0}]}
    lost = {"before": 6.0, "curve": [{"step": 2, "loss": 9.0}, {"step": 3, "loss": None}]}
    assert curve([lost, whole], 0.1) == {"rate": 0.1, "step": [0, 2, 4], "loss": [[6.0, 6.0], [9.0, 3.0], [None, 2.0]]}


def test_it_trains_in_miniature():
    def each(function, items):
        small = []
        for item in items:
            if isinstance(item, Run):
                item = replace(item, **SMALL)
            elif isinstance(item, Faulty):
                item = replace(item, run=replace(item.run, **SMALL))
            small.append(item)
        return [function(item) for item in small]

    numbers = run(replace(CONFIG, seeds=(0,), warmup=2, batches=(1,), length=8, methods=("LoRA",)), each)
    assert numbers["memory"]["LoRA"][0]["peak"] > 0
    assert list(numbers["rank and targets"]) == ["r = 1", "r = 8", "r = 64", "k_proj alone"]
    swept = numbers["rank and targets"]["k_proj alone"]
    assert swept["rate"] in swept["rates"] and len(swept["sweep"]) == len(swept["rates"]) >= 3
    assert numbers["data"]["shuffled"]["step"] == [0, 2, 4] and len(numbers["data"]["shuffled"]["train"]) == 2
    assert numbers["divergence"][f"rate {CONFIG.high:g}"]["loss"] != numbers["divergence"]["clipping"]["loss"]
