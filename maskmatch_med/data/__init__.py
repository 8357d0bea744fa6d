"""From scans to batches."""
