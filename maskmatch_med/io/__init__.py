"""The only doors to imaging files."""
