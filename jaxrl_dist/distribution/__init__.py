"""Devices, hosts, parameters and gradients."""
