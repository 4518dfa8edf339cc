"""What does fine-tuning do to the weights? Singular values of the change, shared subspaces, amplification, intruders.

LoRA's section 7 (Hu et al. 2021, figure 3 and table 7) and the intruder dimensions of Shuttleworth et al. 2024 (arXiv
2410.21228), each beside a control that has learned nothing: A as it was drawn, or a random update of the same norm.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.adapters import linear_paths
from minilora.analysis.spectrum import amplification, intruder_dimensions, norm_matched, subspace_similarity, svd
from minilora.experiments.finetuning import measure, prepared
from minilora.experiments.rank.rank_fit import one_run

TOLERANCE = {"rtol": 0.2, "atol": 0.05}


@dataclass(frozen=True)
class Config:
    """`rates`: of LoRA at the two ranks with alpha = r, and of full fine-tuning of the same linear layers: the best of
    figures/rate_by_rank.json."""

    task: str = "roman"
    ranks: tuple[int, int] = (8, 64)
    rates: tuple[float, ...] = (0.00596, 0.00219, 0.00132)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    other_seed: int = 50  # added for the larger rank: its A is drawn independently of the smaller's
    steps: int = 300
    batch_size: int = 16
    kept: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    k: int = 10
    epsilon: float = 0.5


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Of each seed a list over the base's linear layers, by method ("8", "64": LoRA's rank; "full_linears"); "modules" names them.

    "loss" by method. "size": |dW| / |W|. "left": the share of |dW|^2 beyond the `kept` largest singular values, for full
    fine-tuning, [seed][layer][rank]. "intruders", "amplification": of the update ("trained") and of a random one of its rank and
    norm ("random"). "similarity": phi(i, j) of the two ranks' A, i = 1 to the smaller rank, j in `kept`, mean over the
    layers whose input is 128 wide, [seed][i][j], "trained" and as "drawn".
    """
    per_seed = list(each(one_seed, [(seed, config) for seed in config.seeds]))
    numbers: dict = {
        "ranks": list(config.ranks),
        "kept": list(config.kept),
        "k": config.k,
        "modules": per_seed[0].pop("modules"),
    }
    for one in per_seed[1:]:
        one.pop("modules")
    return numbers | _side_by_side(per_seed)


def one_seed(item: tuple[int, Config]) -> dict:
    """Train all three, and look at every linear layer."""
    seed, config = item
    small, large = map(str, config.ranks)
    numbers: dict = {"loss": {}}
    before, after, lora_a = {}, {}, {}
    for method, rate in zip((small, large, "full_linears"), config.rates, strict=True):
        own = seed + config.other_seed * (method == large)
        settings = {"steps": config.steps, "batch_size": config.batch_size}
        model, trainer = prepared(one_run(config.task, method, rate, own, **settings))
        before = before or _weights(model)  # nothing has been trained: what is put on does not act yet
        lora_a[method, "drawn"] = _lora_a(model)
        numbers["loss"][method] = measure(model, trainer)["loss"]
        lora_a[method, "trained"] = _lora_a(model)
        after[method] = _weights(model)
    numbers["modules"] = [path.rpartition(".")[2] for path in before]
    rng = np.random.default_rng([seed, 1])
    numbers |= {name: {} for name in ("size", "intruders", "amplification")}
    for method, weights in after.items():
        sizes = [float(np.linalg.norm(weights[path] - w) / np.linalg.norm(w)) for path, w in before.items()]
        numbers["size"][method] = sizes
        random = {path: norm_matched(w, weights[path], r=_rank(method, w), rng=rng) for path, w in before.items()}
        for kind, changed in (("trained", weights), ("random", random)):
            for name, values in _directions(before, changed, method, config).items():
                numbers[name].setdefault(kind, {})[method] = values
    numbers["left"] = [_left(after["full_linears"][path] - w, config.kept) for path, w in before.items()]
    columns = np.array(config.kept) - 1
    numbers["similarity"] = {
        kind: np.mean(
            [
                subspace_similarity(a, b)[:, columns]
                for a, b in zip(lora_a[small, kind], lora_a[large, kind], strict=True)
            ],
            axis=0,
        ).tolist()
        for kind in ("drawn", "trained")
    }
    return numbers


def _directions(before, after, method, config):
    """Intruders and amplification of each layer; of full fine-tuning's along as many directions as the small rank has."""
    directions = config.ranks[0] if method == "full_linears" else int(method)
    return {
        "intruders": [
            intruder_dimensions(w, after[path], k=config.k, epsilon=config.epsilon) for path, w in before.items()
        ],
        "amplification": [amplification(after[path] - w, w, min(directions, *w.shape)) for path, w in before.items()],
    }


def _rank(method, weight):
    """That of the method's update; None where it is full."""
    return None if method == "full_linears" or int(method) >= min(weight.shape) else int(method)


def _weights(model):
    """Of each linear layer by path, as it acts."""
    return {path: layer.dense_weight().copy() for path, layer in linear_paths(model).items()}


def _left(change, kept):
    """Shares of |change|^2 beyond its first singular values."""
    squares = svd(change)[1] ** 2
    return [float(squares[r:].sum() / squares.sum()) for r in kept]


def _lora_a(model):
    """A of each layer whose input is 128 wide (all but down_proj): copies."""
    return [
        p.value.copy() for path, p in model.named_parameters() if path.endswith(".lora_A") and "down_proj" not in path
    ]


def _side_by_side(per_seed):
    """A list of equal trees -> one tree with a list over seeds at each leaf."""
    if isinstance(per_seed[0], dict):
        return {key: _side_by_side([one[key] for one in per_seed]) for key in per_seed[0]}
    return list(per_seed)
