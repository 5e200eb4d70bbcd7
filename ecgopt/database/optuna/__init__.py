"""The only place that touches Optuna's private parts."""
