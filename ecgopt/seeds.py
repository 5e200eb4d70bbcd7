"""The only place that turns names into random seeds and seeds the global generators."""

import hashlib
import json

import numpy as np


def seed_for(*names: str | int) -> int:
    """Return a seed in [0, 2**63) that depends on all `names` and their order, and on nothing else.

    Adding a new consumer of randomness never changes the draws of an existing one, because each
    hashes its own name (the idea of DomainBed's hyperparameter registry).
    """
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(*names: str | int) -> np.random.Generator:
    """Return a NumPy generator seeded by `seed_for(*names)`."""
    return np.random.default_rng(seed_for(*names))


def seed_torch(*names: str | int) -> None:
    """Seed torch's global CPU and CUDA generators by `seed_for(*names)`."""
    import torch

    torch.manual_seed(seed_for(*names))
