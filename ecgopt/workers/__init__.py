"""Work items, the processes that claim them, and where those run."""
