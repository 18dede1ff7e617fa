"""Exit statuses of all processes; `jaxrl_dist.cli` says when each is."""

FAILED = 1  # something went wrong that may go right the next time
REFUSED = 2  # the command is wrong, or what it needs is missing
NOT_FINITE = 3  # a loss or a parameter became NaN or infinite
SIGNALLED = 128  # and the number of the signal
