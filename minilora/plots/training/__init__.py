"""Drawings of `minilora.experiments.training`."""
