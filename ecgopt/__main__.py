"""`python -m ecgopt`: the same as the command `ecgopt`."""

from ecgopt.cli.app import main

if __name__ == "__main__":
    main()
