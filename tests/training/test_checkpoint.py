"""A run that was killed resumes to the same bits, and from its own checkpoint alone."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest

from minilora import (
    AdamW,
    Llama,
    LlamaConfig,
    LoraConfig,
    Trainer,
    TrainingConfig,
    apply_lora,
    quantize_linears,
    storage,
)
from minilora.adapters import scale_adapter
from minilora.data import EpochBatches
from minilora.training import CheckpointError, HeldOut


class Other(AdamW):
    """An optimizer of one's own."""


class Momentum(AdamW):
    """Another, with settings of its own: some on the object, one on the class, one in a slot, one behind a property."""

    __slots__ = ("window",)
    dampening = np.float32(0.5)

    def __init__(self, *args, rest=0, **settings):
        super().__init__(*args, **settings)
        self.momentum, self.nesterov, self.window, self.clip = 0.9, np.bool_(False), (1, "x"), None
        self._private, self.arrays, self.sizes = rest, np.array([rest]), [rest]
        self.steps = rest  # in the state

    @property
    def lr(self):
        return self.groups[0]["lr"] * (1 + self._private)


SMALL = LlamaConfig(
    vocab_size=37, hidden_size=24, intermediate_size=40, num_hidden_layers=2, max_position_embeddings=32
)


def make_batches(step):
    ids = np.random.default_rng([1, step % 3]).integers(0, 37, (4, 9))
    return ids[:, :-1], ids[:, 1:]


def make(folder=None, batches=make_batches, evaluate=None, **settings):
    settings = {"max_steps": 12, "learning_rate": 1e-2, "warmup_steps": 2, "save_steps": 4 if folder else 0} | settings
    model = Llama(SMALL, rng=np.random.default_rng(0))
    return Trainer(model, TrainingConfig(**settings), batches, evaluate=evaluate, output_dir=folder)


def interrupt():
    raise KeyboardInterrupt


def at_step(trainer, step, happens):
    """Call `happens` in the step after so many are done."""
    take_step = trainer.optimizer.step
    trainer.optimizer.step = lambda: (happens() if trainer.step == step else None, take_step())
    return trainer


@pytest.mark.parametrize("step", [1, 4, 10])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, step):
    whole, killed = make(), make(tmp_path)
    history = whole.train()
    with pytest.raises(KeyboardInterrupt):
        at_step(killed, step, interrupt).train()
    with open(tmp_path / "log.jsonl", "a", encoding="utf-8") as log:
        log.write('{"step": 11, "lo')  # killed in the middle of a line
    resumed = make(tmp_path)
    assert resumed.train() == history
    for p, q in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == [f'{{"step": {i}' for i in range(1, 13)]


# What a run depends on. Each line changes one condition and says what the error must name.
CONDITIONS = [
    ({"base_seed": 1}, "base was '"),
    ({"config": {"rope_theta": 500.0}}, "settings.Attention.rope_theta.0 was 10000.0, is 500.0"),
    ({"config": {"rms_norm_eps": 1e-6}}, "settings.RMSNorm.eps.0 was 1e-05, is 1e-06"),
    ({"config": {"num_attention_heads": 2, "num_key_value_heads": 1}}, "settings.Attention.head_dim.0 was 6, is 12"),
    (
        {"config": {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}},
        "settings.Attention.rope_scaling.0 was None, is absent; settings.Attention.rope_scaling.0.0.0 was absent",
    ),
    ({"dtype": np.float64}, "dtype was 'float32', is 'float64'"),
    ({"code": "int4"}, "quantization.nf4, blocks of 64 was 14, is absent; quantization.int4, blocks of 64 was absent"),
    ({"code": None}, "quantization"),
    ({"block_size": 32}, "quantization.nf4, blocks of 64 was 14"),
    ({"double_quant": True}, "quantization.nf4, blocks of 64, doubly quantized was absent, is 14"),
    ({"code_of_head": True}, "base was '"),
    ({"r": 2}, "adapter.r was 4, is 2"),
    ({"lora_alpha": 64}, "adapter.lora_alpha was 8.0, is 64.0"),
    ({"lora_dropout": 0.1}, "adapter.lora_dropout was 0.0, is 0.1"),
    ({"use_rslora": True}, "adapter.use_rslora was False, is True"),
    ({"target_modules": ["q_proj", "v_proj"]}, "adapter.target_modules was 'all-linear', is absent"),
    ({"init_lora_weights": "gaussian"}, "adapter.init_lora_weights was True, is 'gaussian'"),
    ({"factor": 0.5}, "adapter.factor was 1.0, is 0.5"),
    ({"adapter_name": "other"}, "adapter.name was 'default', is 'other'"),
    ({"method": "full"}, "method was 'lora', is 'full'"),
    ({"data_seed": 1}, "data.rows was '"),
    ({"data_reversed": True}, "data.rows was '"),
    ({"order_seed": 1}, "data.seed was 0, is 1"),
    ({"batch_size": 3}, "data.batch_size was 2, is 3"),
    ({"held_out_seed": 1}, "held-out data.rows was '"),
    ({"betas": (0.8, 0.999)}, "optimizer.betas.0 was 0.9, is 0.8"),
    ({"eps": 1e-6}, "optimizer.eps was 1e-08, is 1e-06"),
    ({"lr": 0.5}, "optimizer.groups.0.lr was 0.01, is 0.5"),
    ({"decay": 0.1}, "optimizer.groups.0.weight_decay was 0.0, is 0.1"),
    ({"optimizer": Other}, "optimizer.class was 'AdamW', is 'Other'"),
    ({"frozen": "layers.0.self_attn.q_proj.lora_A"}, "parameters.layers.0.self_attn.q_proj.lora_A.0 was 4, is absent"),
    ({"training": {"max_steps": 5}}, "training.max_steps was 4, is 5"),
    ({"training": {"lr_scheduler_type": "linear"}}, "training.lr_scheduler_type was 'cosine', is 'linear'"),
    ({"training": {"warmup_steps": 1}}, "training.warmup_steps was 0, is 1"),
    ({"training": {"min_lr_ratio": 0.1}}, "training.min_lr_ratio was 0.0, is 0.1"),
    ({"training": {"max_grad_norm": 0.5}}, "training.max_grad_norm was 1.0, is 0.5"),
    ({"training": {"gradient_accumulation_steps": 2}}, "training.gradient_accumulation_steps was 1, is 2"),
    ({"training": {"seed": 1}}, "training.seed was 0, is 1"),
    ({"training": {"eval_steps": 1}}, "training.eval_steps was 2, is 1"),
]


def conditioned(folder, **changes):
    """A QLoRA run under the conditions of the table, with some changed."""
    c = {
        "config": {}, "base_seed": 0, "dtype": np.float32, "code": "nf4", "block_size": 64, "double_quant": False, "code_of_head": False,
        "method": "lora", "adapter_name": "default", "frozen": None,
        "data_seed": 0, "data_reversed": False, "order_seed": 0, "batch_size": 2, "held_out_seed": 0,
        "optimizer": AdamW, "lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "decay": 0.0, "training": {},
    } | changes  # fmt: skip
    config = replace(SMALL, head_dim=None, **c["config"])
    model = Llama(config, rng=np.random.default_rng(c["base_seed"]), dtype=c["dtype"])
    if c["code_of_head"]:
        model.norm.weight.value[0] += 1
    if c["code"] is not None:
        quantize_linears(model, c["code"], block_size=c["block_size"], double_quant=c["double_quant"])
    if c["method"] == "lora":
        lora = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
        lora |= {key: changes[key] for key in changes.keys() & {f.name for f in fields(LoraConfig)}}
        apply_lora(model, LoraConfig(**lora), rng=np.random.default_rng(0), adapter_name=c["adapter_name"])
    if "factor" in changes:
        scale_adapter(model, "default", changes["factor"])
    if c["frozen"]:
        dict(model.named_parameters())[c["frozen"]].trainable = False
    ids = np.random.default_rng(c["data_seed"]).integers(0, 37, (6, 5))
    ids = ids[::-1].copy() if c["data_reversed"] else ids
    held_out = np.random.default_rng(c["held_out_seed"]).integers(0, 37, (2, 5))
    optimizer = c["optimizer"](
        [p for p in model.parameters() if p.trainable], c["lr"], c["betas"], c["eps"], weight_decay=c["decay"]
    )
    return Trainer(
        model,
        TrainingConfig(**{"max_steps": 4, "save_steps": 2, "eval_steps": 2} | c["training"]),
        EpochBatches(ids, ids, c["batch_size"], seed=c["order_seed"]),
        evaluate=HeldOut(model, held_out, held_out),
        output_dir=folder,
        optimizer=optimizer,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a run that was stopped after two steps."""
    folder = tmp_path_factory.mktemp("run")
    trainer = conditioned(folder)
    at_step(trainer, 1, trainer.stop).train()
    assert trainer.step == 2
    return folder


def everything(trainer):
    arrays = trainer.model.state() | {f"optimizer {k}": v for k, v in trainer.optimizer.state().items()}
    return {name: array.copy() for name, array in arrays.items()}


@pytest.mark.parametrize(("change", "named"), CONDITIONS, ids=[str(change) for change, _ in CONDITIONS])
def test_a_changed_condition_is_named_and_changes_nothing(saved, change, named):
    trainer = conditioned(saved, **change)
    before, log = everything(trainer), (saved / "log.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=f"belongs to another run: .*{re.escape(named)}"):
        trainer.train()
    assert trainer.step == 0 and trainer.history["step"] == []
    for name, array in everything(trainer).items():
        np.testing.assert_array_equal(array, before[name])
    assert (saved / "log.jsonl").read_bytes() == log


def test_the_same_conditions_resume(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    resumed, whole = conditioned(tmp_path / "run"), conditioned(tmp_path / "whole")
    assert resumed.train() == whole.train()
    for name, array in everything(whole).items():
        np.testing.assert_array_equal(everything(resumed)[name], array)
    assert (tmp_path / "run" / "checkpoint.npz").read_bytes() == (tmp_path / "whole" / "checkpoint.npz").read_bytes()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"momentum": 0.5}, "optimizer.momentum was 0.9, is 0.5"),
        ({"nesterov": True}, "optimizer.nesterov was False, is True"),
        ({"window": (2, "x")}, "optimizer.window.0 was 1, is 2"),
        ({"window": (1,)}, "optimizer.window.1 was 'x', is absent"),
        ({"window": "x"}, "optimizer.window.0 was 1, is absent; optimizer.window.1 was 'x', is absent"),
        ({"dampening": 0.25}, "optimizer.dampening was 0.5, is 0.25"),
        ({"clip": 1}, "optimizer.clip was None, is 1"),
        ({"foreach": True}, "optimizer.foreach was absent, is True"),
    ],
)
def test_settings_of_an_optimizer_of_ones_own(tmp_path, change, named):
    kept = conditioned(tmp_path, optimizer=Momentum)
    at_step(kept, 1, kept.stop).train()

    def made(*args, **settings):
        optimizer = Momentum(*args, **settings)
        for name, value in change.items():
            setattr(optimizer, name, value)
        return optimizer

    trainer = conditioned(tmp_path, optimizer=made)
    before = everything(trainer)
    with pytest.raises(CheckpointError, match=f"belongs to another run: {re.escape(named)}"):
        trainer.train()
    for name, array in everything(trainer).items():
        np.testing.assert_array_equal(array, before[name])


def test_what_is_no_setting_of_an_optimizer_may_change(tmp_path):
    kept = conditioned(tmp_path / "run", optimizer=Momentum)
    at_step(kept, 1, kept.stop).train()
    resumed = conditioned(tmp_path / "run", optimizer=partial(Momentum, rest=7))
    assert resumed.train() == conditioned(tmp_path / "whole", optimizer=Momentum).train()


def test_settings_of_adamw_are_those_of_earlier_checkpoints(saved):
    _, metadata = storage.load_arrays(saved / "checkpoint.npz")
    assert metadata["conditions"]["optimizer"].keys() == {"class", "betas", "eps", "groups"}


def test_all_mismatches_are_named_at_once(saved):
    trainer = conditioned(saved, lora_alpha=64, order_seed=1, training={"seed": 7})
    with pytest.raises(CheckpointError) as caught:
        trainer.train()
    for named in ("adapter.lora_alpha was 8.0, is 64.0", "data.seed was 0, is 1", "training.seed was 0, is 7"):
        assert named in str(caught.value)


def test_what_a_step_does_not_depend_on_may_change(tmp_path):
    """Full fine-tuning: the weights are in the checkpoint, so those that the model started with do not matter."""
    killed = conditioned(tmp_path, method="full", code=None)
    at_step(killed, 2, killed.stop).train()
    assert conditioned(tmp_path, method="full", code=None, base_seed=5).train()["step"] == [1, 2, 3, 4]


def stopped(folder, at=2, **changes):
    """A run of 6 steps with functions of one's own, stopped after `at` of them."""
    trainer = make(folder, max_steps=6, save_steps=2, eval_steps=2, **changes)
    at_step(trainer, at - 1, trainer.stop).train()
    assert trainer.step == at
    return folder


def other_from(place):
    """Batches that are those of the run up to `place`, and others from there on."""

    def batches(step):
        ids, labels = make_batches(step)
        return (ids, labels) if step < place else ((ids + 1) % 37, labels)

    return batches


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batches": other_from(1)}, "data.first two batches was '"),
        ({"batches": other_from(3)}, "batches.3 was '"),
        ({"batches": other_from(4)}, "batches.4 was '"),
        ({"evaluate": lambda: {"loss": 2.0}}, "held-out data.code was '"),
        ({"evaluate": None}, "held-out data.function was 'scores', is absent"),
    ],
)
def test_functions_that_do_not_say_what_they_are(tmp_path, changes, named):
    stopped(tmp_path, at=4, evaluate=scores)
    trainer = make(tmp_path, max_steps=6, save_steps=2, eval_steps=2, **({"evaluate": scores} | changes))
    before = everything(trainer)
    with pytest.raises(CheckpointError, match=f"belongs to another run: .*{re.escape(named)}.* is "):
        trainer.train()
    assert trainer.step == 0 and trainer.history["step"] == []
    for name, array in everything(trainer).items():
        np.testing.assert_array_equal(array, before[name])


def scores():
    return {"loss": 1.0}


class Scores:
    """An evaluation that is an object."""

    def __init__(self, loss):
        self.loss = loss

    def __call__(self):
        return {"loss": self.loss}


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("at", [1, 2, 5, 6])
def test_the_same_functions_resume(tmp_path, at, k):
    settings = {"gradient_accumulation_steps": k, "evaluate": partial(Scores(1.0))}
    whole = make(tmp_path / "whole", max_steps=6, save_steps=2, eval_steps=2, **settings)
    resumed = make(stopped(tmp_path / "run", at, **settings), max_steps=6, save_steps=2, eval_steps=2, **settings)
    assert resumed.train() == whole.train()
    assert (tmp_path / "run" / "checkpoint.npz").read_bytes() == (tmp_path / "whole" / "checkpoint.npz").read_bytes()


def test_code_is_the_same_in_every_process():
    text = (
        "from minilora.training.conditions import _held_out\n"
        "print(_held_out(lambda: [letter in {'a', 'b', 'c', 'd'} for letter in 'ad']))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", text], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1 and b"<lambda>" in said.pop()


def test_data_that_do_not_follow_from_the_step_do_not_resume(tmp_path):
    def stream():
        drawn = iter(range(100))
        return lambda step: make_batches_of(next(drawn))

    def make_batches_of(seed):
        ids = np.random.default_rng(seed).integers(0, 37, (4, 9))
        return ids[:, :-1], ids[:, 1:]

    stopped(tmp_path, batches=stream())
    with pytest.raises(CheckpointError, match="belongs to another run: batches.1 was '.*; batches.2 was '"):
        make(tmp_path, stream(), max_steps=6, save_steps=2, eval_steps=2).train()


def test_a_batch_that_cannot_be_had_costs_no_checkpoint(tmp_path):
    def broken(step):
        if step == 2:
            raise OSError("the disk is away")
        return make_batches(step)

    with pytest.raises(OSError, match="the disk is away"):
        make(tmp_path, broken, max_steps=6, save_steps=2).train()
    whole = make(max_steps=6)
    assert make(tmp_path, max_steps=6, save_steps=2).train() == whole.train()


@pytest.mark.parametrize(
    ("without", "named"),
    [
        (lambda m: m.pop("batches"), "kept no digest of the batches"),
        (lambda m: m["conditions"].update({"held-out data": None}), "held-out data.function was absent, is 'scores'"),
    ],
)
def test_a_checkpoint_from_before_they_were_kept(tmp_path, without, named):
    stopped(tmp_path, evaluate=scores)
    arrays, metadata = storage.load_arrays(tmp_path / "checkpoint.npz")
    without(metadata)
    storage.save_arrays(tmp_path / "checkpoint.npz", arrays, metadata)
    trainer = make(tmp_path, evaluate=scores, max_steps=6, save_steps=2, eval_steps=2)
    with pytest.raises(CheckpointError, match=f"{re.escape(named)}.*choose a new output_dir"):
        trainer.train()
    assert trainer.step == 0


DAMAGES = [
    (
        "a parameter of another shape",
        lambda a, m: a.update({P: a[P][:-1].copy()}),
        "lora_A is an array of shape (3, 24)",
    ),
    ("a parameter of another dtype", lambda a, m: a.update({P: a[P].astype(np.float64)}), "dtype float64 instead of"),
    ("a parameter missing", lambda a, m: a.pop(P), "lora_A is missing"),
    ("a parameter too many", lambda a, m: a.update({"parameters/x": a[P]}), "parameters/x is unexpected"),
    (
        "a square below zero",
        lambda a, m: a[M.replace(".m", ".v")].__isub__(1),
        "0.0.v holds values that no step leaves",
    ),
    ("moments of another shape", lambda a, m: a.update({M: a[M].ravel().copy()}), "optimizer/0.0.m is an array"),
    ("a negative count of steps", lambda a, m: a.update({"optimizer/steps": np.array(-1)}), "holds a number below 0"),
    ("a gap in the history", lambda a, m: a["history/step"].__iadd__(1), "history/step does not count from 1 to 2"),
    (
        "a short history",
        lambda a, m: a.update({"history/loss": a["history/loss"][:1].copy()}),
        "history/loss is an array",
    ),
    ("another part", lambda a, m: a.update({"extra": np.ones(1)}), "extra is unexpected"),
    ("a step below 1", lambda a, m: m.update(step=-3), "step must be at least 1"),
    ("a step as text", lambda a, m: m.update(step="2"), "step must be an int"),
    (
        "a step beyond all memory",
        lambda a, m: m.update(step=10**15),
        "step is 1000000000000000, but history/step has not",
    ),
    ("no history", lambda a, m: m.update(eval=None), "eval must be a list"),
    ("an evaluation without a step", lambda a, m: m.update(eval=[{"loss": 1.0}]), "eval[0].step is missing"),
    ("an evaluation at half a step", lambda a, m: m.update(eval=[{"step": 1.5}]), "eval[0].step must be an int"),
    (
        "an evaluation in words",
        lambda a, m: m.update(eval=[{"step": 1, "loss": "low"}]),
        "eval[0]['loss'] must be a number",
    ),
    ("no conditions", lambda a, m: m.pop("conditions"), "conditions is missing"),
    ("batches by number", lambda a, m: m.update(batches={"1": 2}), "batches['1'] must be a str"),
    ("batches of data that are known", lambda a, m: m.update(batches={"x": "y"}), "batches.x was 'y', is absent"),
]
P, M = "parameters/layers.0.self_attn.q_proj.lora_A", "optimizer/0.0.m"


@pytest.mark.parametrize(("damage", "named"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_a_checkpoint_that_does_not_fit_changes_nothing(saved, tmp_path, damage, named):
    arrays, metadata = storage.load_arrays(saved / "checkpoint.npz")
    damage(arrays, metadata)
    storage.save_arrays(tmp_path / "checkpoint.npz", arrays, metadata)
    trainer = conditioned(tmp_path)
    before = everything(trainer)
    with pytest.raises(CheckpointError, match=re.escape(named)):
        trainer.train()
    for name, array in everything(trainer).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.npz").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="checkpoint.npz is damaged.*choose a new output_dir"):
        conditioned(tmp_path).train()
