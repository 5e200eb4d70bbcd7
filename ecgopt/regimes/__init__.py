"""How a downstream model starts, and what may be tuned."""
