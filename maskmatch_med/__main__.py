"""``python -m maskmatch_med`` is the command line, ``maskmatch``."""

from maskmatch_med.cli import main

if __name__ == "__main__":
    main()
