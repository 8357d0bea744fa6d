"""Numbers, figures and reports."""
