"""The kinds of work, one file each; `registry` lists them, `job` is their contract."""
