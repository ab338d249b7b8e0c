"""Bytes and files: whole files or none, pictures to arrays and back."""
