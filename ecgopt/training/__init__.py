"""Training one model once: recipe, schedule, epochs and metrics."""
