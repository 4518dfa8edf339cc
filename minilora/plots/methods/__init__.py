"""Drawings of `minilora.experiments.methods`."""
