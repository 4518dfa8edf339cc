"""Where numbers came from."""

import platform

import numpy as np

from minilora.assets import base_sha256
from minilora.gallery import FIGURES, select
from minilora.gallery.build import COMMITTED, load
from minilora.gallery.provenance import provenance


def test_it_says_enough_to_compute_the_numbers_again():
    note = provenance(select(["outliers"])[0], runs=3, seconds=1.26)
    assert note["command"] == "python -m minilora figures outliers"
    assert (note["numpy"], note["python"]) == (np.__version__, platform.python_version())
    assert note["base_sha256"] == base_sha256() and (note["runs"], note["seconds"]) == (3, 1.3)


def test_every_committed_figure_was_made_from_the_base_that_is_shipped():
    for figure in FIGURES:
        note = load(figure, COMMITTED)["provenance"]
        assert {"command", "numpy", "blas_threads", "cpu_kernel"} <= note.keys()
        assert note["base_sha256"] == base_sha256()
