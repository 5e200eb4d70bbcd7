"""Networks, their named stages and their checkpoints."""
