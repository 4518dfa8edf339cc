"""One draw function per figure: draw(axes, numbers). No computing, no saving."""
