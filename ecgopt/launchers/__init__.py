"""Placing workers on this host, Slurm or Ray."""
