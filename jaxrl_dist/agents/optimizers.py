"""The optimizer of every agent: clipped gradients, one flat vector, annealed steps."""

import dataclasses
from typing import Literal

import optax

from jaxrl_dist.checks import check_above, check_at_least, check_in_range


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Settings of the optimizer.

    Attributes:
        name: adam, radam (rectified: its first steps are those of momentum) or rmsprop.
        learning_rate: step size, above 0.
        anneal: the step size falls linearly to 0 over the run.
        max_gradient_norm: gradients are scaled down to this global L2 norm, above 0;
            None leaves them.
        epsilon: above 0; Adam and RAdam add it to the root that they divide by, RMSProp
            under the root, as in Mnih et al. 2016, arXiv:1602.01783, equation S3.
        decay: of RMSProp's mean square gradient, in [0, 1]; the others have none.

    Raises:
        ValueError: a setting is out of its range.
    """

    name: Literal["adam", "radam", "rmsprop"] = "adam"
    learning_rate: float = 2.5e-4
    anneal: bool = True
    max_gradient_norm: float | None = 0.5
    epsilon: float = 1e-5
    decay: float = 0.99

    def __post_init__(self) -> None:
        check_above(0, learning_rate=self.learning_rate, epsilon=self.epsilon)
        if self.max_gradient_norm is not None:
            check_above(0, max_gradient_norm=self.max_gradient_norm)
        check_in_range(0, 1, decay=self.decay)
        if self.name not in ("adam", "radam", "rmsprop"):
            raise ValueError(f"name must be adam, radam or rmsprop, got {self.name!r}")

    def build(self, total_steps: int) -> optax.GradientTransformation:
        """Builds the optimizer.

        Args:
            total_steps: gradient steps of the whole run, over which to anneal.

        Returns:
            A gradient transformation that works on one flat vector: a few vector
            operations instead of dozens of small ones.
        """
        check_at_least(1, total_steps=total_steps)
        step_size: optax.ScalarOrSchedule = self.learning_rate
        if self.anneal:
            step_size = optax.linear_schedule(self.learning_rate, 0.0, total_steps)
        if self.name == "rmsprop":
            scale = optax.rmsprop(step_size, decay=self.decay, eps=self.epsilon)
        else:
            adam = optax.adam if self.name == "adam" else optax.radam
            scale = adam(step_size, eps=self.epsilon)
        if self.max_gradient_norm is None:
            return optax.flatten(scale)
        clip = optax.clip_by_global_norm(self.max_gradient_norm)
        return optax.flatten(optax.chain(clip, scale))
