"""Metrics of detectors: average precision, exact and from histograms, and the confusion matrix."""
