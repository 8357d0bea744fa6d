"""From a scan and a network to labels on the scan's own grid."""
