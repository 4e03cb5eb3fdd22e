"""Metrics of ranked lists: average precision at K."""
