"""The kinds of file that minilora writes, each with a sound one, how it is loaded, and what a refused load must not touch."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minilora import (
    BottleneckConfig,
    Llama,
    LlamaConfig,
    LoraConfig,
    PrefixConfig,
    PromptConfig,
    Trainer,
    TrainingConfig,
    apply_lora,
    delete_adapter,
    load_adapter,
    load_base,
    quantize_linears,
    save_adapter,
    set_adapter,
)
from minilora.adapters import (
    FullConfig,
    LoftQConfig,
    PartialConfig,
    adapter_state,
    base_fingerprint,
    get_adapter,
    read_adapter,
)
from minilora.adapters.methods import method_of
from minilora.assets.base import save_base


@dataclass
class Kind:
    """`path`: where its files are loaded from. `load()`: load it, by what a user would call. `again()`: save what was
    loaded, and return where. `state()`: all that a refused load must leave alone. `reset()`: as before the load.
    `same(metadata)`: metadata in the one spelling of its meaning. `undone`: does `reset` promise the same state as before?
    """

    name: str
    path: Path
    load: Callable[[], Any]
    again: Callable[[], Path]
    state: Callable[[], Any]
    reset: Callable[[], None]
    same: Callable[[dict], dict] = lambda metadata: metadata
    undone: bool = True
    before: Any = None  # the state, where it is known
    model: Llama | None = None


def small_llama(dtype=np.float32) -> Llama:
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        initializer_range=0.2,
    )
    return Llama(config, rng=np.random.default_rng(0), dtype=dtype)


def base(folder: Path) -> Kind:
    """`save_base` and `load_base`."""
    path, loaded = folder / "base.npz", []
    save_base(small_llama(), {"note": {"steps": 3, "curve": [[1, 2.5], [2, 1.25]]}}, path)

    def again():
        content = read_metadata(path)
        save_base(loaded.pop(), {key: value for key, value in content.items() if key != "config"}, folder / "again.npz")
        return folder / "again.npz"

    def same(metadata):  # a head_dim of null is hidden_size / heads, and the older files have no rope_scaling
        config = {"rope_scaling": None} | metadata["config"]
        if config["head_dim"] is None:
            config["head_dim"] = config["hidden_size"] // config["num_attention_heads"]
        return metadata | {"config": config}

    return Kind("base", path, lambda: loaded.append(load_base(path=path)), again, lambda: None, loaded.clear, same)


ADAPTERS = {
    "lora": LoraConfig(r=4, lora_alpha=6, rank_pattern={"layers.1.self_attn.v_proj": 2}),
    "lora over NF4": LoraConfig(r=2, target_modules="all-linear", use_rslora=True),
    "lora, all of it": LoraConfig(
        r=2, use_dora=True, init_lora_weights="pissa", trainable_alpha=True, modules_to_save=("norm",)
    ),
    "loftq": LoraConfig(r=2, init_lora_weights="loftq", loftq_config=LoftQConfig(double_quant=True)),
    "bottleneck": BottleneckConfig(),
    "prefix": PrefixConfig(num_virtual_tokens=3),
    "projected prefix": PrefixConfig(num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=5),
    "prompt": PromptConfig(num_virtual_tokens=3),
    "partial": PartialConfig(last_blocks=1),
    "full": FullConfig(),
}


def adapter(folder: Path, method: str) -> Kind:
    """`save_adapter` and `load_adapter`, onto a model that has another LoRA at work already."""
    path, config = folder / "adapter.npz", ADAPTERS[method]
    model, rng = small_llama(), np.random.default_rng(1)
    if "NF4" in method:
        quantize_linears(model, "nf4", double_quant=True)
    method_of(config).apply(model, config, rng=rng, adapter_name="saved")
    for parameter in get_adapter(model, "saved").parameters():
        parameter.value += 0.1 * rng.standard_normal(parameter.shape).astype(parameter.dtype)
    save_adapter(model, path, "saved", notes={"lines": 3, "losses": [2.5, 1.5]})
    delete_adapter(model, "saved")
    if method.startswith("lora"):  # methods of different kinds do not share a model
        apply_lora(model, LoraConfig(r=2), rng=rng, adapter_name="at work")

    def names():
        return ["at work"] if method.startswith("lora") else []

    def again():
        save_adapter(model, folder / "again.npz", "loaded", notes=read_adapter(path).notes)
        return folder / "again.npz"

    def state():
        flags = [(name, p.trainable) for name, p in model.named_parameters()]
        arrays = {f"{name} {key}": a for name in names() for key, a in adapter_state(model, name).items()}
        return repr(model), flags, digest(arrays), base_fingerprint(model)

    def reset():
        delete_adapter(model, "loaded")
        if names():
            set_adapter(model, "at work")

    made = Kind(f"adapter, {method}", path, lambda: load_adapter(model, path, "loaded"), again, state, reset)
    made.model = model
    return made


class Resumed(Exception):
    """Raised by the first batch that a resumed run asks for."""


class Batches:
    """The same data in every run; once `armed`, a run that has resumed stops before it trains."""

    armed = False

    def __call__(self, step):
        if self.armed:
            raise Resumed
        token_ids = np.random.default_rng(step).integers(0, 40, (2, 9))
        return token_ids[:, :-1], token_ids[:, 1:]

    def fingerprint(self):
        return "drawn by step"


def checkpoint(folder: Path) -> Kind:
    """A Trainer with an output_dir: saved after 4 of 8 steps, resumed by a Trainer of the same run."""
    model, batches = small_llama(), Batches()
    apply_lora(model, LoraConfig(r=2, lora_dropout=0.1), rng=np.random.default_rng(1))
    start = {name: p.value.copy() for name, p in model.named_parameters()}
    held_out = batches(100)
    trainers = []

    def trainer():
        config = TrainingConfig(
            max_steps=8, learning_rate=0.01, save_steps=4, eval_steps=2, load_best_model_at_end=True
        )
        evaluate = lambda: {"loss": float(model.loss(*held_out, inference=True)[0]), "count": 16}  # noqa: E731
        made = Trainer(model, config, batches, evaluate=evaluate, output_dir=folder)
        trainers[:] = [made]
        return made

    def stops_at_4():
        run = trainer()
        run.evaluate = lambda evaluate=run.evaluate: (run.stop() if run.step == 4 else None, evaluate())[1]
        run.train()

    def reset():
        for name, p in model.named_parameters():
            p.value[...] = start[name]
            p.zero_grad()
        trainer()

    def load():
        try:
            trainers[0].train()
        except Resumed:
            return

    def again():
        trainers[0]._save()
        return trainers[0].checkpoint_path

    def state():
        run = trainers[0]
        others = {
            p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != "checkpoint.npz"
        }
        arrays = digest({name: p.value for name, p in model.named_parameters()})
        return arrays, digest(run.optimizer.state()), run.step, json.dumps(run.history), run.best, others

    stops_at_4()
    batches.armed = True
    reset()
    return Kind("checkpoint", trainers[0].checkpoint_path, load, again, state, reset, undone=False)


KINDS = {
    "base": base,
    **{f"adapter, {method}": partial(adapter, method=method) for method in ADAPTERS},
    "checkpoint": checkpoint,
}


def make_kind(name: str, folder: Path) -> Kind:
    """One of KINDS, with a new folder of its own below `folder`."""
    own = folder / name.replace(" ", "_")
    own.mkdir()
    return KINDS[name](own)


def digest(arrays: dict[str, np.ndarray]) -> str:
    sha = hashlib.sha256()
    for name, array in arrays.items():
        sha.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return sha.hexdigest()


def read_metadata(path: Path) -> dict:
    from file_forge import content

    return content(path.read_bytes())[1]
