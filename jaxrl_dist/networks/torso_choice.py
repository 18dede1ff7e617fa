"""Which torso reads an environment's observations, chosen by its spec or by name."""

from typing import Literal

import flax.linen as nn

from jaxrl_dist.networks.observations import prepared_shape
from jaxrl_dist.networks.torsos import (
    MLP,
    Activation,
    ImpalaCNN,
    MinAtarCNN,
    NatureCNN,
)
from jaxrl_dist.types import EnvironmentSpec

TorsoName = Literal["auto", "mlp", "minatar_cnn", "nature_cnn", "impala_cnn"]
# The least height and width of which something is left after the convolutions.
SMALLEST_IMAGE = {"minatar_cnn": 3, "nature_cnn": 36, "impala_cnn": 1}


def choose_torso(name: TorsoName, spec: EnvironmentSpec) -> TorsoName:
    """Chooses a torso, or checks that the chosen one fits.

    Args:
        name: auto takes an MLP for flat observations, MinAtar's network for small
            images and the Nature network for images from 36x36.
        spec: of the environment.

    Returns:
        A name other than auto. All but mlp read images; mlp reads flat features.

    Raises:
        ValueError: the torso asked for cannot read these observations.
    """
    prepared = prepared_shape(spec.observation)
    if name == "auto":
        if not prepared.is_image or min(prepared.shape[:2]) < 3:
            return "mlp"
        small = min(prepared.shape[:2]) < SMALLEST_IMAGE["nature_cnn"]
        return "minatar_cnn" if small else "nature_cnn"
    if name == "mlp":
        return name
    if not prepared.is_image:
        raise ValueError(
            f"network.torso={name} needs one image [height, width, channels], but "
            f"{spec.name} observes {prepared.shape[0]} features; use mlp or auto"
        )
    least = SMALLEST_IMAGE[name]
    if min(prepared.shape[:2]) < least:
        height, width, _ = prepared.shape
        raise ValueError(
            f"network.torso={name} needs images from {least}x{least}, but {spec.name} "
            f"observes {height}x{width}; use minatar_cnn, impala_cnn, mlp or auto"
        )
    return name


def make_torso(
    name: TorsoName,
    *,
    hidden: tuple[int, ...],
    activation: Activation,
    layer_norm: bool,
) -> nn.Module:
    """Builds a torso.

    Args:
        name: from `choose_torso`.
        hidden: units per layer of the MLP.
        activation: function after each layer of the MLP.
        layer_norm: whether layers are normalized before their activation.
    """
    if name == "mlp":
        return MLP(hidden, activation, layer_norm)
    return {
        "minatar_cnn": MinAtarCNN,
        "nature_cnn": NatureCNN,
        "impala_cnn": ImpalaCNN,
    }[name](layer_norm=layer_norm)
