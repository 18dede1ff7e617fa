"""Experiments: one module per result, `python -m experiments.<module>`."""
