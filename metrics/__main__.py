"""`python -m metrics`: see `metrics.command_line`."""

from metrics.command_line import main

if __name__ == "__main__":
    main()
