"""Optuna's dashboard with a lock on its door, and what we put into it."""
