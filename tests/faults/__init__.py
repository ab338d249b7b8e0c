"""Runs that are killed, whose disk is full or whose machine loses its power."""
