"""A run of the study of finetune's defaults is what the command does, bit for bit."""

import json
from dataclasses import asdict, replace

import numpy as np

from minilora.adapters import read_adapter
from minilora.cli import main
from minilora.data import split
from minilora.experiments.few_records import Recipe, Run, prepared, train

RECIPE = Recipe(r=2, learning_rate=1e-2, lora_dropout=0.2, weight_decay=0.5, adam_beta2=0.98, max_steps=3, batch_size=4)
RUN = Run("dates", RECIPE, seed=5, n_records=20, n_new=8)


def test_it_is_the_command_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records, _ = split("dates", RUN.n_records, RUN.n_new, seed=RUN.seed)
    (tmp_path / "my.jsonl").write_text("".join(json.dumps(r._asdict()) + "\n" for r in records), encoding="utf-8")
    options = {name: value for name, value in asdict(RECIPE).items() if name != "target_modules"} | {"lora_alpha": 2}
    words = [str(word) for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert main(["finetune", "--data", "my.jsonl", "--out", "run", "--quiet", *words]) == 0
    model, trainer, held_out, _ = prepared(RUN)
    trainer.train()
    theirs = read_adapter(tmp_path / "run" / "adapter.npz").arrays
    mine = {name: p.value for name, p in model.named_parameters() if p.trainable}
    assert mine.keys() == theirs.keys() and any(array.any() for name, array in mine.items() if "lora_B" in name)
    for name, array in theirs.items():
        np.testing.assert_array_equal(mine[name], array)
    notes = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert held_out()["loss"] == notes["result"]["loss"]


def test_scores_are_of_the_held_out_tenth_and_of_new_records():
    _, trainer, held_out, new = prepared(RUN)
    assert [len(rows.labels) for rows in (trainer.batches, held_out, new)] == [18, 2, 8]
    scores = train(RUN)
    assert set(scores) == {"held_out", "exact", "loss", "train_loss"} and scores["loss"] > 0 < scores["train_loss"]


def test_a_run_that_diverges_answers_nothing():
    scores = train(replace(RUN, recipe=replace(RECIPE, learning_rate=1e30)))
    assert scores == {"held_out": 0.0, "exact": 0.0, "loss": None, "train_loss": None}
