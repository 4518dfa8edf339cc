"""What `make hostile` found when it was run last, with 3,000 mutations of each kind of file."""

import json
from pathlib import Path


def test_no_mutation_crashed_a_loader(hostile):
    outcome = json.loads((Path(__file__).parent / "hostile.json").read_text(encoding="utf-8"))
    assert outcome["count"] >= 3000
    assert outcome["results"].keys() == {*hostile.FORMATS, *hostile.FOLDERS}
    for name, verdicts in outcome["results"].items():
        assert sum(verdicts.values()) == outcome["count"], name
        assert set(verdicts) == {"sound", "refused"}, name
        assert verdicts["refused"] > verdicts["sound"], name
