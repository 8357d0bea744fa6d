"""Pieces of pages: forms, plots and panels that a page, or several, are put together from."""
