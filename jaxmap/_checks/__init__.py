"""What makes numbers wrong before anyone trusts them: checks of ground truths and detections as tables.

In: the tables that `jaxmap.io` reads. Out: `DataCheck`, a list of findings. The checks are NumPy over whole columns.
`_inputs/_misread.py` has those that `evaluate` makes, too.
"""
