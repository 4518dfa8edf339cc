"""Training the base, in miniature: whole, stopped and resumed."""

from dataclasses import replace

import numpy as np
import pytest

from minilora import LlamaConfig, TrainingConfig, load_base
from minilora.experiments.training import pretrain as pretraining
from minilora.experiments.training.pretrain import Recipe, curve, held_out_windows, prepare, pretrain

WORDS = [
    "the",
    "name",
    "of",
    "a",
    "value",
    "is",
    "bound",
    "where",
    "an",
    "object",
    "is",
    "defined",
    "in",
    "the",
    "module",
    "and",
    "the",
    "class",
]
RECIPE = Recipe(
    model=LlamaConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2),
    training=TrainingConfig(max_steps=6, learning_rate=3e-3, eval_steps=2, save_steps=2),
    batch_size=2,
    length=16,
    smoothing=3,
    prompts=("The name",),
)


@pytest.fixture(scope="module")
def text():
    rng = np.random.default_rng(0)
    bodies = [" ".join(rng.choice(WORDS, 60)) for _ in range(20)]
    return "".join(f"Section {i}\n==========\n\n{body}\n\n" for i, body in enumerate(bodies))


def train(text, folder, recipe=RECIPE):
    return pretrain(folder / "base.npz", recipe=recipe, text=text, progress=False)


def test_the_weights_load_and_the_record_says_how_they_were_made(text, tmp_path):
    note = train(text, tmp_path)
    model = load_base(path=tmp_path / "base.npz")
    assert model.config == RECIPE.model
    assert [step for step, _ in note["curve"]["train"]] == [3, 6]
    assert [step for step, _ in note["curve"]["eval"]] == [2, 4, 6]
    assert note["curve"]["eval"][-1][1] < note["curve"]["eval"][0][1]
    assert note["training"]["batch_size"] == 2 and note["corpus"]["sha256"] == prepare(text, 16).sha256
    assert note["samples"][0].startswith("The name")
    assert [path.name for path in tmp_path.iterdir()] == ["base.npz"]  # checkpoints are gone


def test_a_stopped_training_resumes_to_the_same_bits(text, tmp_path, monkeypatch):
    whole = train(text, tmp_path / "whole")

    class Stops(pretraining.RandomCrops):
        def __call__(self, step):
            if step == 5:
                raise KeyboardInterrupt
            return super().__call__(step)

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "RandomCrops", Stops)
        with pytest.raises(KeyboardInterrupt):
            train(text, tmp_path / "stopped")
    assert (tmp_path / "stopped" / ".pretraining" / "checkpoint.npz").is_file()
    assert train(text, tmp_path / "stopped") == whole
    assert (tmp_path / "stopped" / "base.npz").read_bytes() == (tmp_path / "whole" / "base.npz").read_bytes()


def test_held_out_windows_predict_each_token_once():
    tokens = np.arange(11, dtype=np.uint8)
    ids, labels = held_out_windows(tokens, 5)
    assert ids.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert labels.tolist() == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    with pytest.raises(ValueError, match="must have more than 20 tokens, got 11"):
        held_out_windows(tokens, 20)


def test_no_held_out_sentence_is_trained_on(text):
    data = prepare(text, 16)
    held_out = bytes(data.eval_ids.reshape(-1).astype(np.uint8))
    training = bytes(data.train_tokens)
    middle = held_out[len(held_out) // 2 :][:60]
    assert middle in held_out and middle not in training


def test_the_curve_is_a_mean_over_steps():
    history = {"loss": [4.0, 2.0, 3.0, 1.0, 9.0], "eval": [{"step": 4, "loss": 1.23456}]}
    assert curve(history, 2) == {"train": [[2, 3.0], [4, 2.0]], "eval": [[4, 1.2346]]}


def test_another_recipe_does_not_resume_this_one(text, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "describe", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            train(text, tmp_path)
    with pytest.raises(ValueError, match="checkpoint"):
        train(text, tmp_path, replace(RECIPE, training=replace(RECIPE.training, learning_rate=1e-3)))
