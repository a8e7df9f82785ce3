"""Analysis of finished runs: comparisons, claims and reruns."""
