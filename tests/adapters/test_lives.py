"""What adapters live through, as a table: after every step each is bit-equal to itself, and only the active one learns."""

import numpy as np
import pytest

from minilora import (
    LoraConfig,
    apply_lora,
    combine_adapters,
    delete_adapter,
    disable_adapters,
    load_adapter,
    merge_lora,
    save_adapter,
    scale_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.adapters import active_adapter, adapter_names, base_fingerprint, get_adapter

CONFIGS = {
    "one": LoraConfig(r=3, lora_alpha=6, target_modules=("q_proj", "down_proj")),
    "two": LoraConfig(r=2, target_modules=("v_proj", "q_proj")),
    "three": LoraConfig(r=4, target_modules="all-linear", use_rslora=True),
}

LIVES = {
    "two trained in turn": "apply one, train, apply two, train, set one, train, set two, train, set one",
    "on disjoint layers": "apply two, train, delete two, apply one, train, apply two, train, set one, train",
    "switched often": "apply one, train, apply two, train" + ", set one, set two" * 20,
    "disabled": "apply one, train, disable, train, apply two, disable, train, set one, disable",
    "merged": "apply one, train, merge, unmerge, train, apply two, train, merge, unmerge, set one, merge, unmerge, train",
    "combined": "apply one, train, apply two, train, combine, train, set one, set both, merge, unmerge, delete both",
    "deleted": "apply one, train, apply two, train, delete one, train, apply one, train, delete two, delete one",
    "saved and loaded": "apply one, train, save, train, load, train, set one, delete one, apply two, train, set loaded",
    "scaled": "apply one, train, scale, train, apply two, train, set one, save, load, merge, unmerge",
    "all of it": "apply one, train, apply two, train, apply three, train, set two, save, combine, train, merge, unmerge, "
    "set one, train, load, delete two, disable, set both, scale, train, delete one, set loaded, train, set three, train",
}


class Life:
    """A model, and for each adapter the logits that it gave when it was last trained or made."""

    def __init__(self, model, ids, rng, folder):
        self.model, self.ids, self.rng, self.file = model, ids, rng, folder / "adapter.npz"
        self.base, self.digest = self.logits(), base_fingerprint(model)
        self.known, self.saved = {}, None

    def logits(self):
        return self.model(self.ids)[0]

    def live(self, action, name=None):
        active = active_adapter(self.model)
        if action == "apply":
            apply_lora(self.model, CONFIGS[name], rng=self.rng, adapter_name=name)
            np.testing.assert_array_equal(self.logits(), self.base)
            for key, array in get_adapter(self.model, name).state().items():
                if key.endswith("lora_B"):
                    array[...] = 0.3 * self.rng.standard_normal(array.shape)
            self.known[name] = self.logits()
        elif action == "train":
            self.train(active)
            self.known[active] = self.logits()
        elif action == "set":
            set_adapter(self.model, name)
        elif action == "disable":
            with disable_adapters(self.model):
                np.testing.assert_array_equal(self.logits(), self.base)
        elif action == "merge":
            merge_lora(self.model)
            np.testing.assert_allclose(self.logits(), self.known[active], rtol=1e-8, atol=1e-10)
        elif action == "unmerge":
            unmerge_lora(self.model)
        elif action == "combine":
            combine_adapters(self.model, {"one": 1.0, "two": 0.5}, "both")
            self.known["both"] = self.logits()
        elif action == "scale":
            scale_adapter(self.model, active, 0.5)
            self.known[active] = self.logits()
        elif action == "delete":
            delete_adapter(self.model, name)
            del self.known[name]
        elif action == "save":
            save_adapter(self.model, self.file, active)
            self.saved = self.known[active]
        elif action == "load":
            load_adapter(self.model, self.file, "loaded")
            self.known["loaded"] = self.saved
        self.check(merged=action == "merge")

    def train(self, active):
        """A step of gradient descent: gradients land in all of the active adapter, and nowhere else."""
        waiting = {
            n: {k: a.copy() for k, a in get_adapter(self.model, n).state().items()} for n in self.known if n != active
        }
        self.model.zero_grad()
        _, backward = self.model.loss(self.ids, np.roll(self.ids, -1, axis=1))
        backward()
        mine = list(get_adapter(self.model, active).parameters())
        assert all(p.grad is not None and p.grad.any() for p in mine)
        assert sum(p.grad is not None for p in self.model.parameters()) == len(mine)
        for parameter in mine:
            parameter.value -= 0.3 * parameter.grad
        for name, state in waiting.items():
            for key, array in get_adapter(self.model, name).state().items():
                np.testing.assert_array_equal(array, state[key])
            assert all(p.grad is None and not p.trainable for p in get_adapter(self.model, name).parameters())

    def check(self, merged):
        assert base_fingerprint(self.model) == self.digest
        if merged:
            assert not any(p.trainable for p in self.model.parameters())
            return
        active = active_adapter(self.model)
        assert adapter_names(self.model) == sorted(self.known)
        learning = {id(p) for p in self.model.parameters() if p.trainable}
        assert learning == ({id(p) for p in get_adapter(self.model, active).parameters()} if active else set())
        np.testing.assert_array_equal(self.logits(), self.known[active] if active else self.base)
        for name, logits in self.known.items():
            set_adapter(self.model, name)
            np.testing.assert_array_equal(self.logits(), logits)
        if active:
            set_adapter(self.model, active)


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES.keys())
def test_life(model, ids, rng, tmp_path, life):
    one = Life(model, ids, rng, tmp_path)
    for step in life.split(", "):
        one.live(*step.split())
