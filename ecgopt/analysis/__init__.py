"""From finished trials to a verdict."""
