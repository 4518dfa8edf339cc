"""Drawings of `minilora.experiments.quantization`."""
