"""Precision and recall from records: in float64 on the host, in integer counts inside `jit`."""
