"""Environments that answer in rows, and wrappers around them."""
