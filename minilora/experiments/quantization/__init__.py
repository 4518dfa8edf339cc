"""What four bits cost: codes, blocks, scales."""
