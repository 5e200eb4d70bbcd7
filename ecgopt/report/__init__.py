"""Tables, figures and pages made from an analysis."""
