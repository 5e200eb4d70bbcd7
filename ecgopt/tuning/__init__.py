"""Comparisons, cells and Optuna studies on a shared database."""
