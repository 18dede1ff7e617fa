"""Agents: each a handful of pure functions."""
