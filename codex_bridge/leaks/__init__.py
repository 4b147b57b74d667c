"""Calls that a model wrote as text. Imports nothing of the other packages. No I/O."""
