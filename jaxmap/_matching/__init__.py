"""Matching: one kernel, for a dataset that is packed on the host and for a batch inside `jit`."""
