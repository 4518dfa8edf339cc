"""The methods that the studies compare, each with the guess around which its rate is swept."""

from dataclasses import dataclass
from typing import Any

from minilora.experiments.finetuning import LORA, Run, Settings, settings


@dataclass(frozen=True)
class Side:
    """One method: what a `Run` of it is made of, but for the data, the steps and the seed. `rate`: where the sweep starts."""

    name: str
    rate: float
    method: str = "lora"
    settings: Settings = LORA
    code: str | None = None
    loraplus_lr_ratio: float = 1.0
    alpha_lr_ratio: float = 0.1

    def run(self, task: str, seed: int = 0, **values: Any) -> Run:
        """A run of it. `values`: further fields of a Run."""
        return Run(
            **{
                "task": task,
                "learning_rate": self.rate,
                "seed": seed,
                "method": self.method,
                "settings": self.settings,
                "code": self.code,
                "loraplus_lr_ratio": self.loraplus_lr_ratio,
                "alpha_lr_ratio": self.alpha_lr_ratio,
            }
            | values
        )


def lora(**values: Any) -> Settings:
    """LoRA's settings of these studies (r = 8, alpha = 8, every linear layer but the head), but for `values`."""
    return settings(**dict(LORA) | values)


# Bottleneck 36 and rank 8 train about 94,000 parameters; the other methods have the sizes that they have.
SIDES = (
    Side("LoRA", 0.006),
    Side("rsLoRA", 0.004, settings=lora(use_rslora=True)),
    Side("LoRA+ (16)", 0.0015, loraplus_lr_ratio=16.0),
    Side("DoRA", 0.006, settings=lora(use_dora=True)),
    Side("PiSSA", 0.004, settings=lora(init_lora_weights="pissa")),
    Side("LoRA on NF4", 0.006, code="nf4"),
    Side("LoftQ (NF4)", 0.006, settings=lora(init_lora_weights="loftq")),
    Side("learned alpha", 0.006, settings=lora(trainable_alpha=True), alpha_lr_ratio=10.0),
    Side("LoRA + last block", 0.008, settings=lora(modules_to_save=("layers.4",))),
    Side("last block", 0.004, "partial", settings(last_blocks=1)),
    Side("norms", 0.24, "partial", settings(last_blocks=0, norms=True)),
    Side("bottleneck", 0.006, "bottleneck", settings(bottleneck_size=36)),
    Side("prefix", 0.2, "prefix", settings(num_virtual_tokens=16)),
    Side("prefix by an MLP", 0.01, "prefix", settings(num_virtual_tokens=16, prefix_projection=True)),
    Side("prompt", 0.8, "prompt", settings(num_virtual_tokens=16)),
    Side("full, same linears", 0.001, "full", settings(target_modules="all-linear")),
    Side("full", 0.002, "full", settings()),
)


def sides(*names: str) -> tuple[Side, ...]:
    """The sides of these names, in this order."""
    known = {side.name: side for side in SIDES}
    return tuple(known[name] for name in names)
