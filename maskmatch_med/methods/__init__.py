"""The learning methods, from tensors to losses."""
