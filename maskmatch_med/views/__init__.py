"""Weak and strong views of whole batches, on the device."""
