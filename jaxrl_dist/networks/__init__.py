"""Networks in flax.linen: torsos, heads, distributions."""
