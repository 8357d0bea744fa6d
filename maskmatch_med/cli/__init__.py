"""The command line, `maskmatch`; one file a family of commands."""
