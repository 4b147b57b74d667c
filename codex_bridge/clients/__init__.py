"""What differs between the clients of the bridge."""
