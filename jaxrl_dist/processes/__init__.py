"""How processes of one run depend on each other; only the standard library."""
