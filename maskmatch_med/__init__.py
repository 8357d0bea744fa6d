"""Label-efficient segmentation of medical and custom-domain images."""
