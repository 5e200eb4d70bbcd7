"""Reads the formats of electrocardiographs and archives, and writes WFDB records."""
