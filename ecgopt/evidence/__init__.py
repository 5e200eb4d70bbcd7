"""What happened in a comparison, as plain records."""
