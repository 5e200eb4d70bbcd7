"""The HTML page: its template, its style and what goes into them."""
