"""Model servers other than Ollama, as doubles that write on the wire what the real ones write.

`kinds.py` has the servers as data, `double.py` the server that speaks like one of them.
"""
