"""Fair hyperparameter studies of transfer learning against training from scratch in ECG."""

__version__ = "0.1.0"
