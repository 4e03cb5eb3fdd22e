"""What users pass in, brought to tables and checked once."""
