"""Panoptic quality: segments of two maps, matched and counted."""
