"""Throughput, side by side with peers."""
