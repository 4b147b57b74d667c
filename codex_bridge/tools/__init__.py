"""What the model is shown of the tools that a client declares. No I/O."""
