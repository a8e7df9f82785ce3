"""Sweeps: plan, run, rank and report many trials that are started by one command."""
