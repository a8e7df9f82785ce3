"""Runs beside one another: which are chosen, how they stand, what two of them say of each image, and the page."""
