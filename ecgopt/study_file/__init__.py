"""Study files: what they may say, and what they expand to."""
