"""Pairs across classes for the confusion matrix, on the host and inside `jit`."""
