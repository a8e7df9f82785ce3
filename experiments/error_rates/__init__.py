"""Simulated error rates of the rankings, intervals and verdicts: how often they are wrong, and how often they detect.

Each module simulates one procedure with the functions that Trainyard uses, in settings that are true by construction.
"""
