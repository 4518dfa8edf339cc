import json

import numpy as np
import pytest

from minilora import AdamW, Llama, LlamaConfig, LoraConfig, Trainer, TrainingConfig, apply_lora
from minilora.data import EpochBatches
from minilora.training import as_arrays, lr_factor, read_log

SMALL = LlamaConfig(
    vocab_size=37, hidden_size=24, intermediate_size=40, num_hidden_layers=2, max_position_embeddings=32
)


def make_batches(step):
    ids = np.random.default_rng([1, step % 3]).integers(0, 37, (4, 9))
    return ids[:, :-1], ids[:, 1:]


def small(dtype=np.float32):
    return Llama(SMALL, rng=np.random.default_rng(0), dtype=dtype)


def make(tmp_path=None, batches=make_batches, model=None, evaluate=None, optimizer=None, **settings):
    model = small() if model is None else model
    settings = {
        "max_steps": 12,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "save_steps": 4 if tmp_path else 0,
        "eval_steps": 5,
    } | settings
    return Trainer(
        model, TrainingConfig(**settings), batches, output_dir=tmp_path, evaluate=evaluate, optimizer=optimizer
    )


def values(trainer):
    return {name: p.value.copy() for name, p in trainer.model.named_parameters()}


def assert_same(one, two):
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def scores(*losses):
    """An `evaluate` that returns these losses one after another."""
    remaining = list(losses)
    return lambda: {"loss": remaining.pop(0)}


def test_training_lowers_the_loss_and_repeats_bit_for_bit():
    one, two = make(max_steps=30), make(max_steps=30)
    history = one.train()
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert history == two.train()
    assert_same(values(one), values(two))


def test_evaluation_every_so_often_and_at_the_end():
    history = make(evaluate=lambda: {"x": 1.0}).train()
    assert [entry["step"] for entry in history["eval"]] == [5, 10, 12]


def test_checkpoints_every_so_often_and_at_the_end(tmp_path, monkeypatch):
    saved = []
    trainer = make(tmp_path, save_steps=5)
    monkeypatch.setattr(Trainer, "_save", lambda self: saved.append(self.step))
    trainer.train()
    assert saved == [5, 10, 12]


def test_training_twice_neither_goes_on_nor_doubles_the_history(tmp_path):
    for trainer in (make(), make(tmp_path)):
        first = json.loads(json.dumps(trainer.train()))
        before = values(trainer)
        assert trainer.train() == first
        assert_same(values(trainer), before)
    assert make(tmp_path).train() == first
    assert len((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 12


def test_the_history_as_arrays():
    arrays = as_arrays(make(evaluate=scores(3.0, 2.0, 1.0)).train())
    assert arrays["step"].dtype == np.int64 and arrays["step"].tolist() == list(range(1, 13))
    assert arrays["loss"].dtype == np.float64 and len(arrays["loss"]) == 12
    assert arrays["eval_step"].tolist() == [5, 10, 12] and arrays["eval_loss"].tolist() == [3.0, 2.0, 1.0]


def test_dropout_draws_another_mask_each_step():
    model = small()
    apply_lora(model, LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.5), rng=np.random.default_rng(0))
    for layer in model.layers:
        layer.mlp.down_proj.lora_B.value[:] = 1.0
    seen = []
    loss = model.loss
    model.loss = lambda *a, rng, **k: seen.append(rng.bit_generator.state["state"]["state"]) or loss(*a, rng=rng, **k)
    make(model=model, max_steps=4, gradient_accumulation_steps=2).train()
    assert len(set(seen)) == 8


def test_the_seed_decides_the_dropout_masks():
    def losses(seed):
        model = small()
        config = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.5)
        apply_lora(model, config, rng=np.random.default_rng(0))
        return make(model=model, max_steps=4, seed=seed).train()["loss"]

    assert losses(0) == losses(0) != losses(1)


def test_clipping_acts_and_the_norm_before_it_is_noted():
    """Adam does not see a gradient's scale, so clipping shows in plain gradient descent."""

    class Descent:
        def __init__(self, params):
            self.groups = [{"params": list(params), "lr": 1.0}]

        def step(self):
            for p in self.groups[0]["params"]:
                p.value -= self.groups[0]["lr"] * p.grad

        def zero_grad(self):
            for p in self.groups[0]["params"]:
                p.zero_grad()

        def state(self):
            return {}

        def load_state(self, arrays):
            pass

    model = small()
    before = [p.value.copy() for p in model.parameters()]
    trainer = make(
        model=model,
        optimizer=Descent(model.parameters()),
        max_grad_norm=1e-3,
        learning_rate=1e-3,  # the default, which an optimizer of one's own requires
        max_steps=1,
        warmup_steps=0,
    )
    history = trainer.train()
    moved = np.sqrt(sum(((p.value - b) ** 2).sum() for p, b in zip(model.parameters(), before, strict=True)))
    assert history["grad_norm"][0] > 0.1
    np.testing.assert_allclose(moved, 1e-3, rtol=1e-3)


def test_gains_do_not_decay():
    trainer = make(weight_decay=0.3)
    decays = {id(p): group["weight_decay"] for group in trainer.optimizer.groups for p in group["params"]}
    for name, p in trainer.parameters.items():
        assert decays[id(p)] == (0.0 if "norm" in name else 0.3)


def test_l2_goes_through_the_gradient(monkeypatch):
    trainer = make(weight_decay=0.3, weight_decay_type="l2", max_steps=1, warmup_steps=0)
    assert all(group["weight_decay"] == 0 for group in trainer.optimizer.groups)
    before, plain, seen = values(trainer), make(max_steps=1, warmup_steps=0), {}
    for key, one in (("l2", trainer), ("plain", plain)):
        step = one.optimizer.step
        gradients = seen.setdefault(key, {})

        def keep(one=one, step=step, gradients=gradients):
            gradients.update({name: p.grad.copy() for name, p in one.parameters.items()})
            step()

        monkeypatch.setattr(one.optimizer, "step", keep)
        one.train()
    for name in before:
        decay = 0.0 if "norm" in name else 0.3
        np.testing.assert_allclose(seen["l2"][name], seen["plain"][name] + decay * before[name], rtol=1e-5, atol=1e-7)


def uneven_rows():
    rng = np.random.default_rng(5)
    ids, labels = rng.integers(0, 37, (12, 9)), np.full((12, 9), -100)
    for row in range(12):  # 1 to 9 counted labels: a mean over micro-batches would differ from one over tokens
        labels[row, : 1 + row % 9] = rng.integers(0, 37, 1 + row % 9)
    return ids, labels


@pytest.mark.parametrize("k", [2, 3, 6])
def test_accumulated_batches_equal_the_large_one(k):
    """In float64, so that what is left is rounding: the same losses and parameters to 1e-9 after nine steps."""
    ids, labels = uneven_rows()
    large = make(model=small(np.float64), batches=EpochBatches(ids, labels, 6, seed=0), max_steps=9)
    parts = make(
        model=small(np.float64),
        batches=EpochBatches(ids, labels, 6 // k, seed=0),
        max_steps=9,
        gradient_accumulation_steps=k,
    )
    np.testing.assert_allclose(parts.train()["loss"], large.train()["loss"], rtol=1e-9)
    np.testing.assert_allclose(parts.history["grad_norm"], large.history["grad_norm"], rtol=1e-9)
    for name, value in values(parts).items():
        np.testing.assert_allclose(value, values(large)[name], rtol=1e-7, atol=1e-9)


def test_epochs_become_steps():
    ids, labels = uneven_rows()
    batches = EpochBatches(ids, labels, 2, seed=0)
    settings = {"learning_rate": 1e-2, "num_train_epochs": 1.5}
    trainer = Trainer(small(), TrainingConfig(**settings), batches)
    assert trainer.max_steps == 9 and len(trainer.train()["loss"]) == 9
    assert Trainer(small(), TrainingConfig(**settings, gradient_accumulation_steps=4), batches).max_steps == 3
    with pytest.raises(ValueError, match="batches must say its steps_per_epoch"):
        Trainer(small(), TrainingConfig(**settings), make_batches)
    with pytest.raises(ValueError, match="warmup_steps must be at most 9, got 10; the run has 9 steps"):
        Trainer(small(), TrainingConfig(**settings, warmup_steps=10), batches)


def test_early_stopping_and_the_best(tmp_path):
    losses = (3.0, 2.0, 2.5, 2.0, 9.0)
    settings = {"eval_steps": 2, "early_stopping_patience": 2, "save_steps": 5, "load_best_model_at_end": True}
    trainer = make(tmp_path, evaluate=scores(*losses), **settings)
    at_step_4 = make(max_steps=12, evaluate=lambda: {}, eval_steps=4)
    at_step_4.evaluate = lambda: at_step_4.stop() or {}
    at_step_4.train()
    history = trainer.train()
    assert [entry["step"] for entry in history["eval"]] == [2, 4, 6, 8]  # an equal loss is not a better one
    assert trainer.best == {"step": 4, "loss": 2.0}
    assert trainer.step == 8
    assert_same(values(trainer), values(at_step_4))
    resumed = make(tmp_path, evaluate=scores(), **settings)  # a run that has stopped stays as it is
    assert resumed.train() == history
    assert_same(values(resumed), values(at_step_4))


def test_the_best_is_kept_on_disk(tmp_path):
    from minilora import storage

    kept = []
    trainer = make(tmp_path, evaluate=scores(3.0, 1.0, 2.0))
    trainer.evaluate = lambda inner=trainer.evaluate: kept.append(values(trainer)) or inner()
    trainer.train()
    arrays, metadata = storage.load_arrays(tmp_path / "best.npz")
    assert metadata == {"step": 10, "loss": 1.0}
    assert_same(arrays, kept[1])


def test_the_best_is_written_as_asked(tmp_path):
    written = []
    trainer = Trainer(
        small(),
        TrainingConfig(max_steps=3, eval_steps=1),
        make_batches,
        evaluate=scores(3.0, 1.0, 2.0),
        output_dir=tmp_path,
        save_model=written.append,
    )
    trainer.train()
    assert written == [tmp_path / "best.npz"] * 2


def test_an_optimizer_of_ones_own_decides_the_rate():
    model = small()
    optimizer = AdamW(model.parameters(), lr=0.5)
    trainer = make(model=model, optimizer=optimizer, learning_rate=1e-3, warmup_steps=2, max_steps=3)
    assert trainer.train()["learning_rate"] == [0.25, 0.5, 0.5]


@pytest.mark.parametrize(
    "setting",
    [
        {"learning_rate": 0.1},
        {"weight_decay": 0.1},
        {"weight_decay_type": "l2"},
        {"adam_beta1": 0.8},
        {"adam_beta2": 0.8},
        {"adam_epsilon": 1e-6},
    ],
)
def test_settings_that_an_optimizer_overrides_are_refused(setting):
    model = small()
    with pytest.raises(ValueError, match=f"config must leave {next(iter(setting))} at the default"):
        make(model=model, optimizer=AdamW(model.parameters()), **{"learning_rate": 1e-3} | setting)


def test_an_optimizer_of_another_model_is_refused():
    with pytest.raises(ValueError, match="optimizer must hold trainable parameters of this model only"):
        make(optimizer=AdamW(small().parameters()), learning_rate=1e-3)


@pytest.mark.parametrize("optimizer", [{}, 0, "adam"])
def test_what_is_no_optimizer_is_refused(optimizer):
    with pytest.raises(TypeError, match="optimizer must be an AdamW"):
        make(optimizer=optimizer, learning_rate=1e-3)


def test_the_log_can_be_read_while_the_run_trains(tmp_path):
    def evaluate():
        seen.append(len(read_log(tmp_path / "log.jsonl")["loss"]))
        return {"loss": 1.0, "exact": 0.5}

    seen = []
    history = make(tmp_path, evaluate=evaluate).train()
    assert seen == [5, 10, 12]
    assert read_log(tmp_path / "log.jsonl") == history


def test_a_stop_asked_for_saves_and_the_run_resumes(tmp_path):
    whole = make()
    history = whole.train()
    trainer = make(tmp_path, evaluate=dict)
    trainer.evaluate = lambda: trainer.stop() or {}
    trainer.train()
    assert trainer.step == 5
    resumed = make(tmp_path, evaluate=dict)
    assert resumed.train()["loss"] == history["loss"] and len(history["loss"]) == 12
    assert_same(values(resumed), values(whole))
    in_process = make(evaluate=lambda: in_process.stop() or {})
    while in_process.step < 12:
        in_process.train()
    assert in_process.history["loss"] == history["loss"]
    assert_same(values(in_process), values(whole))


def test_divergence_is_reported_and_changes_nothing(tmp_path):
    trainer = make(tmp_path, save_steps=2)
    before, zero_grad = {}, trainer.optimizer.zero_grad

    def begin():
        if trainer.step == 4:
            trainer.model.norm.weight.value[:] = np.float32(np.inf)
        before.update(values(trainer))
        zero_grad()

    trainer.optimizer.zero_grad = begin
    message = "diverged at step 5: loss nan.*last good checkpoint is .*checkpoint.npz.*learning_rate below 0.01"
    with pytest.raises(ValueError, match=message):
        trainer.train()
    after = values(trainer)
    for name in before.keys() - {"norm.weight"}:
        np.testing.assert_array_equal(after[name], before[name])
    assert trainer.step == 4 and len(trainer.history["loss"]) == 4


def test_a_held_out_loss_that_is_not_a_number_is_divergence():
    with pytest.raises(ValueError, match="diverged at step 5: held-out loss nan"):
        make(evaluate=scores(float("nan"))).train()


def test_an_evaluation_that_overflows_says_nothing_but_its_scores():
    def overflows():
        return {"loss": float((1 / (np.full(1, 1e38, np.float32) * np.float32(10)))[0])}

    assert make(evaluate=overflows, max_steps=2).train()["eval"][-1]["loss"] == 0.0


def test_parameters_that_are_not_finite_are_not_saved(tmp_path):
    trainer = make(tmp_path, save_steps=1, max_steps=3)
    step = trainer.optimizer.step

    def overflow():
        step()
        if trainer.step == 1:
            trainer.model.norm.weight.value[0] = np.inf

    trainer.optimizer.step = overflow
    with pytest.raises(ValueError, match="diverged at step 2: a parameter is not finite"):
        trainer.train()
    assert make(tmp_path, save_steps=1, max_steps=3).train()["step"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_train_epochs": 2, "max_steps": 7}, ValueError, "give max_steps .7. or num_train_epochs .2., not both"),
        ({"num_train_epochs": 0}, ValueError, "num_train_epochs must be greater than 0"),
        ({"gradient_accumulation_steps": 0}, ValueError, "gradient_accumulation_steps must be at least 1"),
        ({"weight_decay_type": "l1"}, ValueError, "weight_decay_type must be one of 'decoupled', 'l2'"),
        ({"early_stopping_patience": 2}, ValueError, "eval_steps must be set with early_stopping_patience=2"),
        ({"load_best_model_at_end": 1}, TypeError, "load_best_model_at_end must be True or False"),
        ({"warmup_steps": 101}, ValueError, "warmup_steps must be at most 100, got 101"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_a_bad_config_is_named(change, error, message):
    with pytest.raises(error, match=message):
        TrainingConfig(**change)


def test_numbers_become_pythons():
    config = TrainingConfig(max_steps=np.int64(3), learning_rate=np.float32(0.5))
    assert type(config.max_steps) is int and type(config.learning_rate) is float


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Trainer("model", TrainingConfig(), make_batches), TypeError, "model must be a Llama"),
        (lambda: Trainer(small(), TrainingConfig(), 3), TypeError, "batches must be callable"),
        (lambda: Trainer(small(), TrainingConfig(), make_batches, evaluate=3), TypeError, "evaluate must be callable"),
        (
            lambda: Trainer(small(), TrainingConfig(load_best_model_at_end=True), make_batches),
            ValueError,
            "evaluate must be given",
        ),
        (lambda: Trainer(small(), TrainingConfig(save_steps=1), make_batches), ValueError, "output_dir must be given"),
        (lambda: as_arrays({"step": []}), ValueError, "history must be what Trainer.history holds"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_evaluate_may_return_numpys_numbers_and_nothing_but_numbers(tmp_path):
    of_numpy = lambda: {"loss": np.float32(2), "count": np.int64(3), "step": 7}  # noqa: E731
    trainer = make(tmp_path, evaluate=of_numpy, max_steps=4)
    assert trainer.train()["eval"] == [{"step": 4, "loss": 2.0, "count": 3}]
    assert [type(value) for value in trainer.history["eval"][0].values()] == [int, float, int]
    again = make(tmp_path, evaluate=of_numpy, max_steps=4)
    assert again.train() == trainer.history  # the checkpoint holds the very same
    for scores, fault in (({"name": "x"}, "evaluate\\(\\)\\['name'\\] must be a number"), (3, "must be a dict")):
        with pytest.raises(TypeError, match=fault):
            make(evaluate=lambda scores=scores: scores, max_steps=2).train()
    with pytest.raises(ValueError, match="'accuracy'.* must be finite"):
        make(evaluate=lambda: {"accuracy": np.nan}, max_steps=2).train()


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_the_rate_follows_the_schedule_asked_for(kind):
    history = make(max_steps=6, warmup_steps=2, lr_scheduler_type=kind, min_lr_ratio=0.1).train()
    expected = [1e-2 * lr_factor(step, max_steps=6, warmup_steps=2, kind=kind, floor=0.1) for step in range(6)]
    assert history["learning_rate"] == expected


def test_the_log_says_how_many_tokens_and_seconds_a_step_took(tmp_path):
    make(tmp_path, max_steps=2, gradient_accumulation_steps=3).train()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["tokens"] for line in lines] == [3 * 4 * 8] * 2
    assert all(0 <= line["seconds"] < 60 for line in lines)


class Bar:
    """What tqdm would show."""

    def __init__(self):
        self.steps, self.postfixes, self.lines = 0, [], []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def update(self):
        self.steps += 1

    def set_postfix(self, refresh, **shown):
        self.postfixes.append(shown)

    def write(self, line, file):
        self.lines.append(line)


def test_progress_shows_loss_rate_and_evaluations(monkeypatch):
    trainer, bar = make(max_steps=3, eval_steps=2, evaluate=lambda: {"step": 7, "loss": 2.125, "exact": 0.5}), Bar()
    monkeypatch.setattr(trainer, "_bar", lambda: bar)
    trainer.progress = True
    history = trainer.train()
    assert bar.steps == 3
    assert [shown["loss"] for shown in bar.postfixes] == [f"{loss:.3f}" for loss in history["loss"]]
    assert [shown["rate"] for shown in bar.postfixes] == [f"{rate:.1e}" for rate in history["learning_rate"]]
    assert all(float(shown["tokens/s"].replace(",", "")) > 0 for shown in bar.postfixes)
    assert bar.lines == [f"step {step}    held out: loss 2.125, exact 0.5" for step in (2, 3)]
