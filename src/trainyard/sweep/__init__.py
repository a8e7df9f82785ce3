"""Many runs from one command: a process for each, a launcher through which Hydra starts them."""
