"""Losses: arrays in, arrays out; they import nothing but JAX and checks."""
