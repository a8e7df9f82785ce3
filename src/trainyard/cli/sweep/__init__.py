"""The command `trainyard sweep`."""
