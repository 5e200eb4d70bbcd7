"""One file per kind of figure; each draws with matplotlib objects and returns SVG."""
