"""What lies behind a number: reads records, curves and matches of an evaluation; no box, no second matching."""
