"""One draw function a figure: draw(axes, numbers). No computing, no saving."""
