"""One comparison in a database: opening, extending, deleting and reading it."""
