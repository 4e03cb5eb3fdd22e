"""Thousands of malformed inputs of every door, and what is right for each: a number, a warning or a refusal.

`PYTHONPATH=.:tests python -m support.malformed --all --jobs 2` runs them all, each in a process of its own with limits
of time and memory; `--sample 200` a part of them, as the suite does; `--only coco` those of some doors.
"""
