"""Reruns of logged runs: restores the config of a run from its artifacts, and compares the rerun with the original."""
