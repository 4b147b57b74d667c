"""Brings a model's call into the form that the tool takes. No I/O.

Repair changes forms, never values: it finds the function behind a misspelled name, reads JSON that
is not quite JSON, and turns "5" into 5 where the tool's schema asks for a number. If it stays open
what the model wanted, the call goes to the client unchanged, and the client tells the model.
"""
