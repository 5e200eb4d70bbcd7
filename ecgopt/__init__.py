"""Fair hyperparameter studies of transfer learning against training from scratch in ECG diagnosis."""

__version__ = "0.1.0"
