"""Study files: their tables and rules, and the cells and studies they expand to."""
