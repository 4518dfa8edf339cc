"""How training goes: the base, learning rates, batches."""
