"""Against PEFT's LoRA on the same weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from minilora import LoraConfig, apply_lora, merge_lora  # noqa: E402
from minilora.adapters import lora_layers  # noqa: E402

# PEFT asks transformers for a name that is on its way out; that is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

SETTINGS = {
    "q and v": {"target_modules": ("q_proj", "v_proj")},
    "all-linear": {"target_modules": "all-linear"},
    "regular expression": {"target_modules": r".*layers\.1\..*(up|down)_proj"},
    "rslora": {"target_modules": ("o_proj",), "use_rslora": True},
    "patterns": {"target_modules": "all-linear", "rank_pattern": {"k_proj": 2}, "alpha_pattern": {"up_proj": 32}},
}


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
    found = {
        name.removeprefix("base_model.model.model."): module
        for name, module in wrapped.named_modules()
        if isinstance(module, peft.tuners.lora.Linear)
    }
    assert found.keys() == layers.keys()
    for path, layer in layers.items():
        layer.lora_B.value[...] = rng.standard_normal(layer.lora_B.shape) * 0.1
        assert found[path].scaling["default"] == pytest.approx(layer.scaling)
        with torch.no_grad():
            found[path].lora_A["default"].weight.data = torch.tensor(layer.lora_A.value)
            found[path].lora_B["default"].weight.data = torch.tensor(layer.lora_B.value)

    ids, labels = rng.integers(0, 61, (2, 3, 9))
    logits = wrapped(torch.tensor(ids)).logits
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 61), torch.tensor(labels).reshape(-1))
    loss.backward()
    our_loss, backward = ours.loss(ids, labels)
    backward()
    assert our_loss == pytest.approx(loss.item(), rel=1e-7)
    for path, layer in layers.items():
        for mine, theirs_ in ((layer.lora_A, found[path].lora_A), (layer.lora_B, found[path].lora_B)):
            gradient = theirs_["default"].weight.grad.numpy()
            np.testing.assert_allclose(mine.grad, gradient, atol=1e-6 * np.abs(gradient).max())
    merge_lora(ours)
    merged = wrapped.merge_and_unload()
    for path in layers:
        theirs_merged = merged.get_submodule(f"model.{path}").weight.detach().numpy()
        np.testing.assert_allclose(ours.get_submodule(path).dense_weight(), theirs_merged, rtol=1e-9, atol=1e-12)
