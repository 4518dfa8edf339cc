"""Looking at what was built: bytes, spectra, gradients."""
