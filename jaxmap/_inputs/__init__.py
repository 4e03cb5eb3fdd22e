"""Conversion of user input to tables, with all checks."""
