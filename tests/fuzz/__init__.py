"""Damaged files of every kind that introshift reads: each has an answer, and stays as it is."""
