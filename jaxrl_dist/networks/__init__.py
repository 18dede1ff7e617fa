"""Networks: torsos, heads, distributions, and what builds agents' networks of them."""
