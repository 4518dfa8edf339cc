import inspect
import json
from pathlib import Path

import pytest

from minilora.experiments.quantization import codebooks, quantization_error, scale_memory
from minilora.experiments.rank import lr_sweep, rank_fit, rank_known
from minilora.gallery import FIGURES as ALL_FIGURES

FIGURES = Path(__file__).parents[2] / "figures"


@pytest.mark.parametrize("figure", ALL_FIGURES, ids=lambda figure: figure.name)
def test_every_experiment_runs_with_any_each(figure):
    parameters = inspect.signature(figure.experiment.run).parameters
    assert list(parameters) == ["config", "each"]
    assert parameters["each"].default is map and parameters["config"].default == figure.experiment.Config()


def test_the_runs_go_through_the_each_that_is_given():
    config = rank_known.Config(in_features=6, out_features=5, true_rank=2, ranks=(1, 2), steps=5, seeds=(0, 1))
    given = []

    def backwards(function, items):
        given.extend(items)
        return [function(item) for item in reversed(items)][::-1]

    assert rank_known.run(config, backwards) == rank_known.run(config)
    assert len(given) == 4


def test_codebooks():
    numbers = codebooks.run(codebooks.Config(values=2**14))
    for source in ("normal", "base"):
        assert sum(numbers["nf4_use"][source]) == pytest.approx(1)
        assert sum(numbers["density"][source]) * 2 / 80 == pytest.approx(1)
    assert 3 < numbers["nf4_unevenness"]["normal"] < 9  # not equal-probability bins (Yoshida 2023)
    assert numbers["inner_half"]["nf4"] > numbers["inner_half"]["int4"]


def test_quantization_error():
    config = quantization_error.Config(values=2**15, block_sizes=(32, 64, 256), seeds=(0,))
    numbers = quantization_error.run(config)
    normal = {code: entry["rms"]["mean"] for code, entry in numbers["error"]["normal"].items()}
    assert normal["int4_affine"][0] < normal["nf4"][0]  # affine int4 wins at 32 ...
    assert normal["nf4"][2] < normal["int4_affine"][2]  # ... and loses at 256
    for entry in numbers["error"].values():
        assert all(
            code["rms"]["mean"][0] < code["rms"]["mean"][2] for name, code in entry.items() if name != "int4_full"
        )
    assert numbers == quantization_error.run(config)


def test_scale_memory():
    numbers = scale_memory.run(scale_memory.Config(shapes=((64, 64), (512, 512))))
    assert numbers["headline"] == {"single": 0.5, "double": 0.126953125}
    assert numbers["counted"]["64x64"]["double"] == 0.140625
    assert all(entry["single"] == 0.5 for entry in numbers["counted"].values())
    seven = numbers["gigabytes"]["7B"]
    assert seven["single"] - seven["double"] == pytest.approx(seven["parameters"] * 0.373046875 / 8e9)
    assert numbers["error"]["none"] < numbers["error"]["dynamic"] < 1.01 * numbers["error"]["none"]


def test_rank_known_never_beats_the_bound_and_reaches_it():
    config = rank_known.Config(in_features=16, out_features=12, true_rank=3, ranks=(1, 3, 5), steps=800, seeds=(0,))
    numbers = rank_known.run(config)
    for kind in ("known", "decaying"):
        for fit, bound in zip(numbers[kind]["fit"][0], numbers[kind]["bound"][0], strict=True):
            assert bound - 1e-9 <= fit <= bound + 1e-3
    assert numbers["known"]["fit"][0][0] > 0.6 and numbers["known"]["fit"][0][1] < 1e-3  # the knee


def test_rank_fit_trains_what_it_says():
    config = rank_fit.Config(ranks=(2,), seeds=(0,), steps=(3, 3))
    numbers = rank_fit.run(config)
    assert numbers["tasks"]["roman"]["parameters"] == {"2": 23360, "full": 955776}
    for found in numbers["tasks"].values():
        assert found["loss"]["2"][0] < found["before"]


def test_rank_fit_uses_the_rates_that_the_sweep_found():
    best = json.loads((FIGURES / "lr_sweep.json").read_text())["numbers"]["best"]
    assert tuple(tuple(best[task].values()) for task in rank_fit.Config().tasks) == rank_fit.LEARNING_RATES
    assert lr_sweep.Config().seed not in rank_fit.Config().seeds
