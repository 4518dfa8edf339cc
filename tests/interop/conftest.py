"""`hostile`: malformed files and mutations, shared by the tests and by `make hostile`, which runs many more of them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import hostile as module


@pytest.fixture
def hostile():
    return module
