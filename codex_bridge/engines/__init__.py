"""The servers that run models: HTTP out."""
