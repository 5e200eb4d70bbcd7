"""Optuna's dashboard behind an access policy, with notes, plots and files that ecgopt adds."""
