"""Drawings of `minilora.experiments.rank`."""
