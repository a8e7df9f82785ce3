"""Comparison of runs: selection, comparison table, comparison of the predictions of two runs, and the HTML page."""
