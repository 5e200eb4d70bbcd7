"""Reading ECG records and label tables, and preparing them once for training."""
