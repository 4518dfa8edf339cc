"""Shared: small models, random generators, and the worst gradient check of the session in the closing summary."""

import functools
import gc
import os
import signal
import sys

import numpy as np
import pytest

from minilora import Llama, LlamaConfig, gradcheck

WORST = []


def pytest_configure(config):
    # A shell's background job ignores Ctrl-C, and so would the commands that the tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session):
    # mutmut runs each mutant in a fork of a process that has run all tests: what that process computed must not be used.
    if "MUTANT_UNDER_TEST" in os.environ:
        for name in [name for name in sys.modules if name.startswith("tests.")]:
            if name != __name__:
                del sys.modules[name]
        _forget_tables()


@pytest.fixture(autouse="MUTANT_UNDER_TEST" in os.environ)
def forget_tables():
    """Empty every cache of the package, so that a test meets the code that made what is in them."""
    _forget_tables()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def check(rng):
    """gradcheck at 1e-6, remembering the worst relative error of the session."""

    def run(function, *inputs, **kwargs):
        report = gradcheck(function, *inputs, rng=rng, **kwargs)
        WORST.append(report.worst)
        return report

    return run


SHAPES = {
    "grouped heads": {},
    "one key/value head": {"num_key_value_heads": 1},
    "all heads, untied": {"num_key_value_heads": 4, "tie_word_embeddings": False},
    "wide heads": {"head_dim": 10, "num_hidden_layers": 1},
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def config(request):
    return small_config(**request.param)


def small_config(**changes):
    sizes = {"vocab_size": 37, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32}
    return LlamaConfig(**(sizes | heads | {"initializer_range": 0.3} | changes))


@pytest.fixture
def make_model(rng):
    def make(dtype=np.float64, **changes):
        return Llama(small_config(**changes), rng=rng, dtype=dtype)

    return make


def _forget_tables():
    for thing in gc.get_objects():
        if isinstance(thing, functools._lru_cache_wrapper) and str(thing.__module__).startswith("minilora."):
            thing.cache_clear()


def pytest_terminal_summary(terminalreporter):
    if WORST:
        terminalreporter.write_line(f"gradcheck: {len(WORST)} reports, worst relative error {max(WORST):.2e}")
