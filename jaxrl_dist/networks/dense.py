"""Dense layers."""

import flax.linen as nn

Dense = nn.Dense
