"""From the fingerprint of a study to its plan."""
