"""Against PEFT on the same weights: LoRA and its starts, prefix tuning, prompt tuning, norms only."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from minilora import (  # noqa: E402
    AdamW,
    LoraConfig,
    PrefixConfig,
    PromptConfig,
    apply_lora,
    apply_prefix,
    apply_prompt,
    generate,
    merge_lora,
)
from minilora.adapters import LoftQConfig, PartialConfig, apply_partial, get_adapter, inits, lora_layers  # noqa: E402
from minilora.quant import quantize  # noqa: E402
from minilora.training import rate_groups  # noqa: E402

# PEFT asks transformers for a name that is on its way out; only they can change it.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

SETTINGS = {
    "q and v": {"target_modules": ("q_proj", "v_proj")},
    "all-linear": {"target_modules": "all-linear"},
    "regular expression": {"target_modules": r".*layers\.1\..*(up|down)_proj"},
    "rslora": {"target_modules": ("o_proj",), "use_rslora": True},
    "patterns": {"target_modules": "all-linear", "rank_pattern": {"k_proj": 2}, "alpha_pattern": {"up_proj": 32}},
}


def equal_logits_and_loss(ours, wrapped, rng):
    """Forward and backward of both on one batch; their gradients stand afterwards."""
    ids, labels = rng.integers(0, 61, (2, 3, 9))
    logits = wrapped(input_ids=torch.tensor(ids)).logits[:, -9:]  # PEFT keeps a prompt's logits
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 61), torch.tensor(labels).reshape(-1))
    loss.backward()
    our_loss, backward = ours.loss(ids, labels)
    backward()
    assert our_loss == pytest.approx(loss.item(), rel=1e-7)
    np.testing.assert_allclose(ours(ids)[0], logits.detach().numpy(), rtol=1e-5, atol=1e-6)
    return ids


def equal_gradients(pairs, tolerance=1e-6):
    for mine, theirs in pairs:
        gradient = theirs.grad.numpy()
        np.testing.assert_allclose(mine.grad.reshape(gradient.shape), gradient, atol=tolerance * np.abs(gradient).max())


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("tied", [True, False])
def test_targets_logits_gradients_and_merging(twins, settings, tied):
    ours, theirs, _ = twins(0, np.float64, tie_word_embeddings=tied)
    rng = np.random.default_rng(1)
    apply_lora(ours, LoraConfig(r=4, lora_alpha=8, **settings), rng=rng)
    targets = settings["target_modules"]
    settings = settings | {"target_modules": targets if isinstance(targets, str) else list(targets)}
    wrapped = peft.get_peft_model(theirs, peft.LoraConfig(r=4, lora_alpha=8, **settings))
    layers = lora_layers(ours)
    theirs_by_path = {
        name.removeprefix("base_model.model.model."): module
        for name, module in wrapped.named_modules()
        if isinstance(module, peft.tuners.lora.Linear)
    }
    assert theirs_by_path.keys() == layers.keys()
    for path, layer in layers.items():
        layer.lora_B.value[...] = rng.standard_normal(layer.lora_B.shape) * 0.1
        assert theirs_by_path[path].scaling["default"] == pytest.approx(layer.scaling)
        with torch.no_grad():
            theirs_by_path[path].lora_A["default"].weight.data = torch.tensor(layer.lora_A.value)
            theirs_by_path[path].lora_B["default"].weight.data = torch.tensor(layer.lora_B.value)

    equal_logits_and_loss(ours, wrapped, rng)
    for path, layer in layers.items():
        for mine, theirs_ in ((layer.lora_A, theirs_by_path[path].lora_A), (layer.lora_B, theirs_by_path[path].lora_B)):
            gradient = theirs_["default"].weight.grad.numpy()
            np.testing.assert_allclose(mine.grad, gradient, atol=1e-6 * np.abs(gradient).max())
    merge_lora(ours)
    merged = wrapped.merge_and_unload()
    for path in layers:
        theirs_merged = merged.get_submodule(f"model.{path}").weight.detach().numpy()
        np.testing.assert_allclose(ours.get_submodule(path).dense_weight(), theirs_merged, rtol=1e-9, atol=1e-12)


def lora_twins(twins, ours_config, theirs_config, rng, **changes):
    """Both models with LoRA, ours over theirs by path."""
    ours, theirs, _ = twins(0, np.float64, **changes)
    apply_lora(ours, ours_config, rng=rng)
    wrapped = peft.get_peft_model(theirs, theirs_config)
    theirs_by_path = {n: m for n, m in wrapped.named_modules() if isinstance(m, peft.tuners.lora.Linear)}
    layers = {f"base_model.model.model.{path}": layer for path, layer in lora_layers(ours).items()}
    assert layers.keys() == theirs_by_path.keys()
    return ours, wrapped, [(layers[name], theirs_by_path[name]) for name in theirs_by_path]


def copied(mine, theirs, rng):
    """Random values into ours, the same into theirs; returns the pair."""
    mine.value[...] = mine.value + 0.1 * rng.standard_normal(mine.shape)
    theirs.data = torch.tensor(mine.value)
    return mine, theirs


@pytest.mark.parametrize("alpha", [4, 8])
def test_dora(twins, alpha):
    rng = np.random.default_rng(1)
    settings = {"r": 4, "lora_alpha": alpha, "use_dora": True}
    targets = ["q_proj", "up_proj"]
    ours, wrapped, pairs = lora_twins(
        twins,
        LoraConfig(**settings, target_modules=tuple(targets)),
        peft.LoraConfig(**settings, target_modules=targets),
        rng,
    )
    parameters = []
    for layer, theirs in pairs:
        part, magnitude = layer.adapters["default"], theirs.lora_magnitude_vector["default"].weight
        np.testing.assert_allclose(part.lora_magnitude_vector.value, magnitude.detach().numpy(), rtol=1e-6)
        parameters += [
            copied(part.lora_A, theirs.lora_A["default"].weight, rng),
            copied(part.lora_B, theirs.lora_B["default"].weight, rng),
            copied(part.lora_magnitude_vector, magnitude, rng),
        ]
    equal_logits_and_loss(ours, wrapped, rng)
    equal_gradients(parameters)
    merge_lora(ours)
    merged = wrapped.merge_and_unload()
    for path in ("layers.0.self_attn.q_proj", "layers.1.mlp.up_proj"):
        theirs = merged.get_submodule(f"model.{path}").weight.detach().numpy()
        np.testing.assert_allclose(ours.get_submodule(path).dense_weight(), theirs, rtol=1e-9, atol=1e-12)


def test_pissa(twins):
    rng = np.random.default_rng(1)
    settings = {"r": 4, "lora_alpha": 8, "init_lora_weights": "pissa"}
    ours, theirs, _ = twins(0, np.float32)  # PEFT wants no float64 here
    apply_lora(ours, LoraConfig(**settings), rng=rng)
    wrapped = peft.get_peft_model(theirs, peft.LoraConfig(**settings, target_modules=["q_proj", "v_proj"]))
    parameters = []
    for path, layer in lora_layers(ours).items():
        layer_there = wrapped.get_submodule(f"base_model.model.model.{path}")
        part = layer.adapters["default"]
        residual = layer_there.base_layer.weight.detach().numpy()
        np.testing.assert_allclose(part.beneath(layer.base_layer).dense_weight(), residual, atol=1e-5)
        mine, A = part.lora_A.value, layer_there.lora_A["default"].weight.detach().numpy()
        signs = np.sign(np.sum(mine * A, axis=1))  # a singular vector may point either way
        np.testing.assert_allclose(mine, A * signs[:, None], atol=1e-5)
        B = layer_there.lora_B["default"].weight.detach().numpy()
        np.testing.assert_allclose(part.lora_B.value, B * signs, atol=1e-5)
        parameters += [
            copied(part.lora_A, layer_there.lora_A["default"].weight, rng),
            copied(part.lora_B, layer_there.lora_B["default"].weight, rng),
        ]
    ids, labels = rng.integers(0, 61, (2, 3, 9))
    logits = wrapped(input_ids=torch.tensor(ids)).logits
    torch.nn.functional.cross_entropy(logits.reshape(-1, 61), torch.tensor(labels).reshape(-1)).backward()
    _, backward = ours.loss(ids, labels)
    backward()
    np.testing.assert_allclose(ours(ids)[0], logits.detach().numpy(), rtol=1e-3, atol=2e-4)
    equal_gradients(parameters, 1e-3)


@pytest.fixture
def pefts_loftq(monkeypatch):
    """PEFT's algorithm, which insists on a GPU: its "cuda" is sent to the CPU. (weight, r, rounds) -> base, A, B."""
    from peft.utils.loftq_utils import loftq_init

    to = torch.Tensor.to

    def cpu(where):
        return "cpu" if isinstance(where, (str, torch.device)) and str(where).startswith("cuda") else where

    def to_cpu(tensor, *args, **kwargs):
        return to(tensor, *map(cpu, args), **{key: cpu(value) for key, value in kwargs.items()})

    def start(weight, r, iterations):
        with monkeypatch.context() as patched:
            patched.setattr(torch.Tensor, "to", to_cpu)
            return [t.numpy() for t in loftq_init(torch.tensor(weight, dtype=torch.float32), 4, r, iterations)]

    return start


@pytest.mark.parametrize("iterations", [1, 3])
def test_loftq_start(pefts_loftq, iterations):
    weight = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)
    base, A, B = pefts_loftq(weight, 8, iterations)

    def rounded(w):
        return quantize(w).dequantize()

    (our_A, our_B), (start_A, start_B) = inits.loftq(weight, 8, 1.0, rounded, iterations)
    our_base = rounded((weight - start_B @ start_A).astype(np.float32))
    # a value on a threshold may fall to the other side in a later round
    assert np.mean(np.abs(our_base - base) > 1e-6) < (1e-9 if iterations == 1 else 1e-3)
    np.testing.assert_allclose(our_B @ our_A, B @ A, atol=1e-5 if iterations == 1 else 0.05)


@pytest.mark.parametrize(("alpha", "iterations"), [(2, 1), (8, 3)])
def test_loftq(twins, pefts_loftq, alpha, iterations):
    """PEFT starts as if alpha were r. Ours finds the same base and the same update, whatever alpha; from there on PEFT's LoRA,
    with base, A and B copied from ours, is what ours is."""
    rng = np.random.default_rng(1)
    settings = {"r": 4, "lora_alpha": alpha}
    ours, wrapped, pairs = lora_twins(
        twins,
        LoraConfig(**settings, init_lora_weights="loftq", loftq_config=LoftQConfig(loftq_iter=iterations)),
        peft.LoraConfig(**settings, target_modules=["q_proj", "v_proj"]),
        rng,
        hidden_size=64,  # bitsandbytes decodes rows that end within a block wrongly on a CPU
    )
    parameters = []
    for layer, theirs in pairs:
        part = layer.adapters["default"]
        base, A, B = pefts_loftq(theirs.base_layer.weight.detach().numpy(), 4, iterations)
        mine = part.beneath(layer.base_layer).dense_weight()
        assert np.mean(np.abs(mine - base) > 1e-6) < (1e-9 if iterations == 1 else 1e-3)
        update = alpha / 4 * part.lora_B.value @ part.lora_A.value
        np.testing.assert_allclose(update, B @ A, atol=1e-5 if iterations == 1 else 1e-3)
        theirs.base_layer.weight.data = torch.tensor(mine)
        parameters += [
            copied(part.lora_A, theirs.lora_A["default"].weight, rng),
            copied(part.lora_B, theirs.lora_B["default"].weight, rng),
        ]
    equal_logits_and_loss(ours, wrapped, rng)
    equal_gradients(parameters)
    merge_lora(ours)
    merged = wrapped.merge_and_unload()
    for path in ("layers.0.self_attn.q_proj", "layers.1.self_attn.v_proj"):
        theirs = merged.get_submodule(f"model.{path}").weight.detach().numpy()
        np.testing.assert_allclose(ours.get_submodule(path).dense_weight(), theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning")  # only its width goes unknown
def test_norms_only(twins):
    """PEFT's LNTuning trains copies of the norms, too, and picks the same ones of a Llama."""
    from peft.tuners.ln_tuning.layer import LNTuningLayer

    rng = np.random.default_rng(1)
    ours, theirs, _ = twins(0, np.float64)
    paths = apply_partial(ours, PartialConfig(last_blocks=0, norms=True), rng=rng)
    wrapped = peft.get_peft_model(theirs, peft.LNTuningConfig())
    modules = {
        name.removeprefix("base_model.model.model."): module
        for name, module in wrapped.named_modules()
        if isinstance(module, LNTuningLayer)
    }
    assert modules.keys() == set(paths)
    trained = {name for name, p in wrapped.named_parameters() if p.requires_grad}
    assert len(trained) == len(paths) == sum(p.trainable for _, p in ours.named_parameters())
    parameters = [
        copied(
            ours.get_submodule(path).adapters["default"].weight, modules[path].ln_tuning_layers["default"].weight, rng
        )
        for path in paths
    ]
    equal_logits_and_loss(ours, wrapped, rng)
    equal_gradients(parameters)


@pytest.mark.parametrize("heads", [{}, {"num_key_value_heads": 4}, {"head_dim": 20}], ids=["grouped", "all", "wide"])
@pytest.mark.parametrize("projection", [False, True])
def test_prefix_tuning(twins, heads, projection):
    ours, theirs, _ = twins(0, np.float64, **heads)
    rng = np.random.default_rng(1)
    apply_prefix(ours, PrefixConfig(num_virtual_tokens=3, prefix_projection=projection), rng=rng)
    part = get_adapter(ours).parts["forward_from"]
    settings = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3, "prefix_projection": projection}
    if heads.get("head_dim"):
        settings |= {"token_dim": 2 * 20, "num_attention_heads": 2}  # PEFT guesses hidden_size / heads
    wrapped = peft.get_peft_model(theirs, peft.PrefixTuningConfig(**settings)).to(torch.float64)
    encoder = wrapped.prompt_encoder["default"]
    if projection:
        mine = [part.embedding, part.W1, part.b1, part.W2, part.b2]
        pairs = list(zip(mine, encoder.parameters(), strict=True))
        for ours_, theirs_ in pairs:
            theirs_.data = torch.tensor(ours_.value)
    else:
        L, _, K, P, d = part.prefix.shape  # PEFT's row of a virtual token: (2 L, K, d), keys and values in turn
        rows = part.prefix.value.transpose(3, 0, 1, 2, 4).reshape(P, L * 2 * K * d)
        encoder.embedding.weight.data = torch.tensor(rows)
    ids = equal_logits_and_loss(ours, wrapped, rng)
    if projection:
        equal_gradients(pairs)
    else:
        gradient = encoder.embedding.weight.grad.numpy()
        mine = part.prefix.grad.transpose(3, 0, 1, 2, 4).reshape(gradient.shape)
        np.testing.assert_allclose(mine, gradient, atol=1e-6 * np.abs(gradient).max())
    settings = {"do_sample": False, "pad_token_id": 0, "use_cache": True, "attention_mask": torch.ones(3, 9)}
    out = wrapped.generate(input_ids=torch.tensor(ids), max_new_tokens=6, **settings)
    np.testing.assert_array_equal(generate(ours, ids, 6), out.numpy())


@pytest.mark.filterwarnings("ignore:Position ids are not supported")  # generate sends them, PEFT drops them
def test_prompt_tuning(twins):
    ours, theirs, _ = twins(0, np.float64)
    rng = np.random.default_rng(1)
    apply_prompt(ours, PromptConfig(num_virtual_tokens=3), rng=rng)
    part = get_adapter(ours).parts["forward_from"]
    part.prompt.value[...] = rng.standard_normal(part.prompt.shape)
    wrapped = peft.get_peft_model(theirs, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    wrapped = wrapped.to(torch.float64)
    weight = wrapped.prompt_encoder["default"].embedding.weight
    weight.data = torch.tensor(part.prompt.value)
    ids = equal_logits_and_loss(ours, wrapped, rng)
    equal_gradients([(part.prompt, weight)])
    settings = {"do_sample": False, "pad_token_id": 0, "use_cache": True, "attention_mask": torch.ones(3, 9)}
    out = wrapped.generate(input_ids=torch.tensor(ids), max_new_tokens=6, **settings)
    np.testing.assert_array_equal(generate(ours, ids, 6), out.numpy())


def test_loraplus(twins):
    """Every parameter after three steps, against PEFT's own optimizer."""
    from peft.optimizers import create_loraplus_optimizer

    rng = np.random.default_rng(1)
    settings, rates = {"r": 4, "lora_alpha": 8}, {"lr": 0.01, "loraplus_lr_ratio": 8.0}
    ours, wrapped, pairs = lora_twins(
        twins, LoraConfig(**settings), peft.LoraConfig(**settings, target_modules=["q_proj", "v_proj"]), rng
    )
    parameters = []
    for layer, theirs in pairs:
        parameters.append(copied(layer.lora_A, theirs.lora_A["default"].weight, rng))
        parameters.append(copied(layer.lora_B, theirs.lora_B["default"].weight, rng))
    trainable = {name: p for name, p in ours.named_parameters() if p.trainable}
    mine = AdamW(rate_groups(trainable, rates["lr"], loraplus_lr_ratio=8.0), weight_decay=0.0)
    theirs = create_loraplus_optimizer(wrapped, torch.optim.AdamW, **rates, weight_decay=0.0)
    for _ in range(3):
        mine.zero_grad()
        theirs.zero_grad()
        equal_logits_and_loss(ours, wrapped, rng)
        mine.step()
        theirs.step()
    for ours_, theirs_ in parameters:
        np.testing.assert_allclose(ours_.value, theirs_.detach().numpy(), rtol=1e-5, atol=1e-6)
