"""checks: what is returned is a plain Python value, and every refusal names the argument and the value seen."""

import json
import math
import pathlib
from dataclasses import asdict

import numpy as np
import pytest

from minilora import LlamaConfig, LoraConfig, TrainingConfig, checks


@pytest.mark.parametrize("number", [3, np.int8(3), np.uint64(3), np.int64(3)])
def test_integers_come_back_as_int(number):
    assert type(checks.integer("n", number, low=0, high=1000)) is int


@pytest.mark.parametrize("number", [3, 3.0, np.float16(3), np.float32(3), np.int8(3), np.longdouble(3)])
def test_reals_come_back_as_float(number):
    assert type(checks.real("x", number, low=0, below=1e30)) is float


def test_strings_booleans_choices_and_paths_come_back_plain():
    assert type(checks.string("s", np.str_("a"))) is str
    assert type(checks.boolean("b", np.True_)) is bool
    assert type(checks.one_of("c", np.str_("a"), ("a", "b"))) is str
    assert checks.one_of("c", np.True_, (True, "gaussian")) is True
    assert checks.strings("t", ["a", np.str_("b")]) == ("a", "b")
    assert checks.path("p", pathlib.Path("a") / "b") == str(pathlib.Path("a") / "b")
    assert checks.float_dtype("d", "float32") == np.float32


class Wordless:
    def __repr__(self):
        raise RuntimeError


REFUSED = [
    (lambda: checks.integer("n", np.int8(3), low=1000), ValueError, "n must be at least 1000, got 3"),
    (lambda: checks.integer("n", 5, high=4), ValueError, "n must be at most 4, got 5"),
    (
        lambda: checks.integer("n", 5, low=1, high=4, hint="try 2"),
        ValueError,
        "n must be between 1 and 4, got 5; try 2",
    ),
    (lambda: checks.integer("n", np.True_), TypeError, "n must be an int, got .*True"),
    (lambda: checks.integer("n", 10**5000, high=9), ValueError, "n must be at most 9, got a value of 16610 bits"),
    (lambda: checks.integer("n", Wordless()), TypeError, r"n must be an int, got a value without a repr \(Wordless\)"),
    (lambda: checks.integer("n", "x" * 500), TypeError, r"n must be an int, got 'x{76}\.\.\. \(str\)"),
    (lambda: checks.integer("n", np.array(3)), TypeError, r"n must be an int, got an array of shape \(\)"),
    (lambda: checks.real("x", 10**400), ValueError, "x must be finite, got 1000"),
    (lambda: checks.real("x", math.nan), ValueError, "x must be finite, got nan"),
    (lambda: checks.real("x", np.float32("inf")), ValueError, "x must be finite, got .*inf"),
    (lambda: checks.real("x", 1 + 0j), TypeError, "x must be a number"),
    (lambda: checks.real("x", 1.0, above=1.0), ValueError, "x must be greater than 1.0, got 1.0"),
    (lambda: checks.real("x", 1.0, below=1.0), ValueError, "x must be less than 1.0, got 1.0"),
    (lambda: checks.real("x", 1.0, high=0.5), ValueError, "x must be at most 0.5, got 1.0"),
    (lambda: checks.real("x", 1.0, low=1.5), ValueError, "x must be at least 1.5, got 1.0"),
    (lambda: checks.boolean("b", 1), TypeError, "b must be True or False, got 1"),
    (lambda: checks.one_of("c", 1, (True, "a")), ValueError, r"c must be one of True, 'a', got 1 \(int\)"),
    (lambda: checks.string("s", b"a"), TypeError, "s must be a str, got b'a'"),
    (lambda: checks.string("s", "a\ud800"), ValueError, "s must be text that UTF-8 can hold.*ud800.*index 1"),
    (lambda: checks.strings("t", "abc"), TypeError, "t must be a list or tuple of str, got 'abc'"),
    (lambda: checks.strings("t", {"a"}), TypeError, "t must be a list or tuple of str, got {'a'}"),
    (lambda: checks.strings("t", ["a", 3]), TypeError, "t must be a list or tuple of str"),
    (lambda: checks.path("p", None), TypeError, "p must be a str or a pathlib.Path, got None"),
    (lambda: checks.path("p", ""), ValueError, "p must name a file, got ''"),
    (lambda: checks.path("p", "a\0b"), ValueError, "p must name a file"),
    (lambda: checks.instance("m", 3, np.ndarray, hint="make one"), TypeError, "m must be a ndarray, got 3.*; make one"),
    (lambda: checks.function("f", 3), TypeError, "f must be callable, got 3"),
    (lambda: checks.generator("rng", 3), TypeError, "rng must be a Generator, got 3.*default_rng"),
    (lambda: checks.optional_generator("rng", 3), TypeError, "rng must be a Generator, got 3"),
    (lambda: checks.float_dtype("dtype", None), TypeError, "dtype must be float32 or float64, got None"),
    (lambda: checks.float_dtype("dtype", "nonsense"), TypeError, "dtype must be float32 or float64, got 'nonsense'"),
    (lambda: checks.float_dtype("dtype", ">f4"), TypeError, "dtype must be float32 or float64, got '>f4'"),
    (lambda: checks.array("w", np.ma.ones(3)), TypeError, r"w must be an array without a mask.*w.filled\(0\)"),
    (lambda: checks.array("w", np.zeros((3, 0))), ValueError, r"w must not be empty, got .*\(3, 0\)"),
    (lambda: checks.float_array("w", np.ma.ones(3)), TypeError, "w must be an array without a mask"),
    (lambda: checks.float_array("w", np.ones(3, ">f4")), TypeError, "w must be float32 or float64"),
    (lambda: checks.float_array("w", np.ones(3, object)), TypeError, "w must be float32 or float64"),
    (lambda: checks.float_array("w", np.ones(3), ndim=(2, 3)), ValueError, "w must have 2 or 3 axes"),
    (lambda: checks.float_array("w", np.ones((3, 1)), ndim=(1,)), ValueError, "w must have 1 axis"),
    (lambda: checks.integer_array("i", np.ones(3)), TypeError, "i must be a numpy array of integers"),
    (lambda: checks.integer_array("i", np.ones(3, bool)), TypeError, "i must be a numpy array of integers"),
    (
        lambda: checks.integer_array("i", np.arange(3), high=1),
        ValueError,
        "i must lie in None .. 1, got values from 0 to 2",
    ),
    (lambda: checks.integer_array("i", np.arange(3), low=1, high=5), ValueError, "i must lie in 1 .. 5, got .* 0 to 2"),
    (
        lambda: checks.integer_array("i", np.array([-100, -7, 2]), low=0, high=5, ignored=-100),
        ValueError,
        "i must be -100 or lie in 0 .. 5, got values from -7 to 2",
    ),
    (
        lambda: checks.finite("w", np.array([[1, 2], [3, math.nan]])),
        ValueError,
        r"w must be finite, got nan at index \(1, 1\)",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refused(call, error, message):
    with pytest.raises(error, match=f"^({message})"):
        call()


def test_what_passes_is_not_copied():
    w, ids = np.ones((2, 3)), np.array([[-100, 3]])
    assert checks.float_array("w", w, ndim=(2,)) is w
    assert checks.finite("w", w) is w
    assert checks.integer_array("ids", ids, low=0, high=3, ignored=-100) is ids
    assert checks.optional_generator("rng", None) is None


def test_finite_is_not_fooled_by_a_sum_that_overflows():
    large = np.full(4, 3e38, np.float32)
    assert checks.finite("w", large) is large
    with pytest.raises(ValueError, match=r"at index \(70000,\)"):
        checks.finite("w", np.where(np.arange(80000) == 70000, np.inf, 1.0))


def test_the_suggestion_in_a_message_is_true():
    with pytest.raises(TypeError, match="np.matrix"), pytest.warns(PendingDeprecationWarning):
        checks.array("w", np.matrix([[1.0]]))


NUMPY_CONFIGS = [
    LlamaConfig(hidden_size=np.int64(32), num_attention_heads=np.int8(2), num_key_value_heads=np.uint8(1),
                rope_theta=np.float32(500), tie_word_embeddings=np.False_, head_dim=np.int16(8)),
    LoraConfig(r=np.int64(4), lora_alpha=np.float32(8), lora_dropout=np.float64(0.5), use_rslora=np.True_,
               target_modules=[np.str_("q_proj")], rank_pattern={np.str_("q_proj"): np.int8(2)},
               alpha_pattern={"q_proj": np.float32(2)}),
    TrainingConfig(max_steps=np.int64(3), learning_rate=np.float32(0.5), lr_scheduler_type=np.str_("linear"),
                   warmup_steps=np.int8(1), save_steps=np.int64(1), seed=np.uint64(5), max_grad_norm=1),
]  # fmt: skip


@pytest.mark.parametrize("config", NUMPY_CONFIGS, ids=lambda config: type(config).__name__)
def test_a_config_given_numpy_numbers_keeps_python_ones(config):
    same = type(config)(**json.loads(json.dumps(asdict(config))))
    assert same == config

    def plain(value):
        if isinstance(value, dict):
            return all(plain(item) for pair in value.items() for item in pair)
        if isinstance(value, (list, tuple)):
            return all(map(plain, value))
        return value is None or type(value) in (int, float, bool, str)

    assert plain(asdict(config))
