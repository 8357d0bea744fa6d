"""The study folder: scans, labels, models, predictions in one place."""
