"""The pages, a short script each."""
