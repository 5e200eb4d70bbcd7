"""Copies of trials and final fits in the tracker of a user's choice, such as MLflow."""
