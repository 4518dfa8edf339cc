"""`minilora base`: what it trains, says and leaves behind."""

from functools import partial

import pytest

from minilora import LlamaConfig, TrainingConfig, load_base
from minilora.cli import main
from minilora.experiments.training import pretrain as pretraining

TEXT = "".join(f"Section {i}\n=======\n\n{'the name of a value ' * 9}number {i}\n\n" for i in range(20))
RECIPE = pretraining.Recipe(
    model=LlamaConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2),
    training=TrainingConfig(max_steps=4, eval_steps=2, save_steps=2),
    batch_size=2,
    length=16,
    smoothing=2,
    prompts=("The",),
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The real training, of a tiny model on a small text."""
    monkeypatch.setattr(
        pretraining, "pretrain", partial(pretraining.pretrain, recipe=RECIPE, text=TEXT, progress=False)
    )


def test_it_trains_stores_and_reports(tmp_path, capsys):
    out = tmp_path / "mine.npz"
    assert main(["base", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "nats per byte" in said and "---\nThe" in said
    assert load_base(path=out).config == RECIPE.model


@pytest.mark.parametrize(
    ("step", "words"), [(1, "no checkpoint yet"), (3, "checkpoint.npz is kept, and the same command resumes")]
)
def test_stopped_it_says_what_is_kept(step, words, tmp_path, monkeypatch, capsys):
    class Stops(pretraining.RandomCrops):
        def __call__(self, at):
            if at == step:
                raise KeyboardInterrupt
            return super().__call__(at)

    monkeypatch.setattr(pretraining, "RandomCrops", Stops)
    assert main(["base", "--out", str(tmp_path / "mine.npz")]) == 130
    assert words in capsys.readouterr().err


def test_a_folder_is_refused_before_anything_is_trained(tmp_path, capsys):
    assert main(["base", "--out", str(tmp_path)]) == 2
    assert "--out must be a file, got the folder" in capsys.readouterr().err
