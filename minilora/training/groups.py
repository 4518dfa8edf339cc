"""Groups of parameters: which decay, and how (decoupled, beside the gradient, or L2, through it); which learn faster."""

from collections.abc import Iterable, Mapping

from minilora import checks
from minilora.nn.module import Parameter

DECAYS = ("decoupled", "l2")


def decay_groups(parameters: Iterable[Parameter], weight_decay: float) -> list[dict]:
    """Groups for AdamW: matrices decay, gains (one axis) do not, as is usual for transformers."""
    checks.real("weight_decay", weight_decay, low=0)
    parameters = list(parameters)
    matrices = [p for p in parameters if p.value.ndim > 1]
    gains = [p for p in parameters if p.value.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": gains, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def rate_groups(
    parameters: Mapping[str, Parameter],
    learning_rate: float,
    weight_decay: float = 0.0,
    *,
    loraplus_lr_ratio: float = 1.0,
    alpha_lr_ratio: float = 0.1,
) -> list[dict]:
    """Groups for AdamW by path, each with its rate and decay (see `decay_groups`).

    B of a LoRA learns at `loraplus_lr_ratio` times `learning_rate`, which is A's (LoRA+: Hayou et al. 2024, arXiv 2402.12354,
    who recommend about 16, with a lower rate for A); a learned alpha at `alpha_lr_ratio` times it; everything else at
    `learning_rate`. Parameters are recognized by the ends of their paths, "lora_B" and "lora_alpha". Raises ValueError
    or TypeError for settings out of range or what is not a Parameter.
    """
    learning_rate = checks.real("learning_rate", learning_rate, low=0)
    for path, parameter in checks.mapping("parameters", parameters).items():
        checks.instance(f"parameters[{path!r}]", parameter, Parameter)
    ratios = {
        "lora_B": checks.real("loraplus_lr_ratio", loraplus_lr_ratio, above=0, hint="1 is plain LoRA, 16 is usual"),
        "lora_alpha": checks.real("alpha_lr_ratio", alpha_lr_ratio, low=0),
    }
    by_ratio: dict[float, list[Parameter]] = {}
    for path, parameter in parameters.items():
        by_ratio.setdefault(ratios.get(path.rpartition(".")[2], 1.0), []).append(parameter)
    return [
        group | {"lr": learning_rate * ratio}
        for ratio, members in by_ratio.items()
        for group in decay_groups(members, weight_decay)
    ]


def add_l2_gradient(parameters: Iterable[Parameter], weight_decay: float) -> None:
    """g = g + weight_decay p, in place: the gradient of weight_decay / 2 |p|², for matrices alone.

    Adam then divides it by the size of the gradient, so that parameters with large gradients hardly decay (Loshchilov &
    Hutter 2019, arXiv 1711.05101, section 2); decoupled decay does not depend on the gradient.
    """
    checks.real("weight_decay", weight_decay, low=0)
    for parameter in parameters:
        if parameter.grad is not None and parameter.value.ndim > 1:
            parameter.grad += weight_decay * parameter.value
