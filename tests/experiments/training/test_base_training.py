"""The figure of the base's training shows what its weights' file records."""

from minilora.assets import base_provenance
from minilora.experiments.training.base_training import run


def test_the_record_of_the_shipped_base():
    numbers, note = run(), base_provenance()
    assert numbers == {key: note[key] for key in ("curve", "samples", "training", "corpus")}
    assert numbers["curve"]["eval"][-1][0] == numbers["training"]["max_steps"]
