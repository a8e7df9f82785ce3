"""The benchmark: Trainyard measured beside what a plain Keras user writes, and beside the floor under both.

Seconds mean little on a machine that others use too, so contestants take turns, epoch by epoch and run by run, and
what counts is the ratio within a turn: its median, with the quartiles.
"""
