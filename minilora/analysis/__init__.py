"""Looking at what was built: bytes, spectra, gradients."""

from minilora.analysis.error import mean_absolute_error, rms_error
from minilora.analysis.gradcheck import GradcheckError, GradcheckReport, gradcheck
from minilora.analysis.memory import (
    Setup,
    activation_bytes,
    gradient_bytes,
    linear_shapes,
    optimizer_bytes,
    saved_bytes,
    stored_bytes,
    trainable_parameters,
    weight_bytes,
)
from minilora.analysis.spectrum import amplification, intruder_dimensions, norm_matched, subspace_similarity, svd

__all__ = [
    "GradcheckError",
    "GradcheckReport",
    "Setup",
    "activation_bytes",
    "amplification",
    "gradcheck",
    "gradient_bytes",
    "intruder_dimensions",
    "linear_shapes",
    "mean_absolute_error",
    "norm_matched",
    "optimizer_bytes",
    "rms_error",
    "saved_bytes",
    "stored_bytes",
    "subspace_similarity",
    "svd",
    "trainable_parameters",
    "weight_bytes",
]
