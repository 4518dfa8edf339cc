from minilora.experiments.quantization.scale_codecs import Config, run


def test_an_outlier_hurts_even_steps_most():
    numbers = run(Config(block_sizes=(64,), values=2**16, seeds=(0,)))
    errors = {
        source: {n: e["scale"][0][0] for n, e in codes.items() if n != "float32"}
        for source, codes in numbers["sources"].items()
    }
    assert errors["normal"]["int8"] < errors["normal"]["dynamic"] < errors["normal"]["e4m3"]
    assert errors["outliers"]["dynamic"] < errors["outliers"]["int8"]
