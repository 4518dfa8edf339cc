"""Methods beside LoRA, and the knobs of each."""
