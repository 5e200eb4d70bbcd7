"""The starts of downstream models, and the hyperparameters that can be tuned."""
