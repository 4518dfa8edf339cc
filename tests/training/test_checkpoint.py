"""A run that was killed resumes to the same bits, and from its own checkpoint alone."""

import numpy as np
import pytest

from minilora import Llama, LlamaConfig, Trainer, TrainingConfig
from minilora.training import CheckpointError

SMALL = LlamaConfig(
    vocab_size=37, hidden_size=24, intermediate_size=40, num_hidden_layers=2, max_position_embeddings=32
)


def make_batches(step):
    ids = np.random.default_rng([1, step % 3]).integers(0, 37, (4, 9))
    return ids[:, :-1], ids[:, 1:]


def make(folder=None, **settings):
    settings = {"max_steps": 12, "learning_rate": 1e-2, "warmup_steps": 2, "save_steps": 4 if folder else 0} | settings
    model = Llama(SMALL, rng=np.random.default_rng(0))
    return Trainer(model, TrainingConfig(**settings), make_batches, output_dir=folder)


def dies_at(step):
    def batches(i):
        if i == step:
            raise KeyboardInterrupt
        return make_batches(i)

    return batches


@pytest.mark.parametrize("step", [1, 4, 10])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, step):
    whole, killed = make(), make(tmp_path)
    history = whole.train()
    killed.batches = dies_at(step)
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    with open(tmp_path / "log.jsonl", "a", encoding="utf-8") as log:
        log.write('{"step": 11, "lo')  # killed in the middle of a line
    resumed = make(tmp_path)
    assert resumed.train() == history
    for p, q in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == [f'{{"step": {i}' for i in range(1, 13)]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    make(tmp_path).train()
    with pytest.raises(CheckpointError, match="another config"):
        make(tmp_path, max_steps=16).train()
