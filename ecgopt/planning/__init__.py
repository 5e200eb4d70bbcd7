"""Cost and statistical power before compute is spent."""
