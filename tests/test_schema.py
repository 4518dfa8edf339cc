import dataclasses
from functools import partial

import pytest

from minilora import LoraConfig, checks, schema

FIELDS = {
    "step": partial(checks.integer, low=0),
    "history": schema.record({"loss": schema.list_of(checks.real)}),
    "sizes": schema.dict_of(checks.integer),
    "pair": schema.list_of(checks.string, length=2),
    "best": schema.nullable(checks.real),
    "config": schema.config(LoraConfig, optional=("lora_dropout",)),
}
GOOD = {
    "step": 3,
    "history": {"loss": [1, 2.5]},
    "sizes": {"a": 1},
    "pair": ["a", "b"],
    "best": None,
    "config": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "use_rslora": False, "init_lora_weights": True}
    | {"rank_pattern": {}, "alpha_pattern": {}},
}


def config_without_new_fields():
    """Fields that LoraConfig gained since this test was written are allowed to be missing."""
    new = set(LoraConfig.__dataclass_fields__) - set(GOOD["config"])
    return FIELDS | {"config": schema.config(LoraConfig, optional=new)}


def test_good_metadata_comes_back_converted():
    checked = schema.check("x.npz", GOOD, config_without_new_fields())
    assert checked["config"] == LoraConfig(r=4, lora_alpha=8, target_modules=("q_proj",))
    assert {key: checked[key] for key in checked if key != "config"} == {k: GOOD[k] for k in GOOD if k != "config"}


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"step": -3}, "step must be at least 0, got -3"),
        ({"step": 3.0}, "step must be an int, got 3.0"),
        ({"step": True}, "step must be an int, got True"),
        ({"step": None}, "step must be an int, got None"),
        ({"history": None}, "history must be a dict, got None"),
        ({"history": {}}, "history.loss is missing"),
        ({"history": {"loss": {}}}, "history.loss must be a list"),
        ({"history": {"loss": [1, "2"]}}, r"history.loss\[1\] must be a number, got '2'"),
        ({"history": {"loss": [float("nan")]}}, r"history.loss\[0\] must be finite"),
        ({"sizes": {"a": 1.5}}, r"sizes\['a'\] must be an int"),
        ({"pair": ["a"]}, "pair must have 2 entries, got 1"),
        ({"best": "x"}, "best must be a number"),
        ({"config": GOOD["config"] | {"r": "8"}}, "config: r must be an int, got '8'"),
        ({"config": GOOD["config"] | {"r": 0}}, "config: r must be at least 1, got 0"),
        ({"config": GOOD["config"] | {"rr": 1}}, "config.'rr' is not a field of it"),
        ({"config": {k: v for k, v in GOOD["config"].items() if k != "r"}}, "config.r is missing"),
        ({"config": GOOD["config"] | {"init_lora_weights": 1}}, "config: init_lora_weights must be one of"),
        ({"config": []}, "config must be a dict"),
        ({"more": 1}, "'more' is not a field of it"),
    ],
)
def test_each_fault_names_file_and_field(change, fault):
    with pytest.raises(ValueError, match=f"x.npz has metadata that cannot be used: {fault}"):
        schema.check("x.npz", GOOD | change, config_without_new_fields())


def test_all_faults_are_listed_at_once():
    with pytest.raises(ValueError, match="pair is missing.*step must be.*best must be"):
        schema.check("x.npz", {"step": -1, "best": "x"}, {k: FIELDS[k] for k in ("pair", "step", "best")})
    with pytest.raises(ValueError, match="metadata must be a dict, got 3"):
        schema.check("x.npz", 3, FIELDS)


@dataclasses.dataclass
class Sizes:
    width: int | None
    names: tuple[str, ...] = ()
    inner: dict | None = None
    on: bool = True

    def __post_init__(self):
        self.width = 4 if self.width is None else float(self.width)
        self.names = tuple(self.names)
        self.inner = {"a": 1, **(self.inner or {})}


def test_what_a_config_would_replace_is_refused():
    """null may mean a default to a user; in a file it is not what was at work."""
    check = schema.config(Sizes, optional=("on",))
    whole = {"width": 10**300, "names": ["a"], "inner": {"a": 2}}
    assert check("sizes", whole) == Sizes(1e300, ("a",), {"a": 2})
    for change, fault in (
        ({"width": None}, "sizes.width must be 4, got None"),
        ({"names": {"a": 1}}, r"sizes.names must be \('a',\), got {'a': 1}"),
        ({"inner": {}}, "sizes.inner must be {'a': 1}, got {}"),
        ({"inner": None}, "sizes.inner must be {'a': 1}, got None"),
        ({"width": True}, "sizes.width must be 1.0, got True"),
        ({"names": None}, "not iterable"),
    ):
        with pytest.raises(ValueError, match=fault):
            check("sizes", whole | change)
