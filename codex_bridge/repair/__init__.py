"""What a model meant by a call that it wrote wrong. No I/O."""
