"""Benchmark of Trainyard against plain Keras scripts, and against the matrix products alone as a lower bound.

Absolute times are unreliable on a machine that also runs other programs. Therefore the compared programs are measured
alternately, epoch by epoch or command by command. Results are ratios within a round: the median and the quartiles.
"""
