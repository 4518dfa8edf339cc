"""The small pretrained base that the figures and notebooks start from."""

from minilora.assets.base import base_provenance, base_sha256, base_weights, load_base

__all__ = ["base_provenance", "base_sha256", "base_weights", "load_base"]
