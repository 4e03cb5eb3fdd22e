"""Metrics of dense maps: semantic and panoptic segmentation, average precision of pixels."""
