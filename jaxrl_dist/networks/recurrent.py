"""Recurrent cores: what stands between a torso and its heads to remember.

A core reads features row by row. Where a row begins an episode, memory is the initial
one before the row is read, whatever it was: so a sequence may hold several episodes.

LSTM and GRU multiply their inputs for all rows at once, before the loop through time,
which keeps the recurrent product alone. MinGRU has no product in the loop and is
parallel in time.

The biases of the gates that forget start such that some units remember for two rows,
some for `longest_memory`, and the others for something between. Gates that start half
open lose what is older than a few rows, and gradients with it.

Source:
    Tallec and Ollivier 2018, Can recurrent neural networks warp time?, section 2,
    arXiv:1804.11188; here the spread is even in the logarithm, and not drawn.
"""

import dataclasses
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_at_least, check_rank, check_shape
from jaxrl_dist.networks.dense import Dense
from jaxrl_dist.networks.through_time import (
    Gates,
    linear_recurrence,
    read_rows,
    reset,
    split_gates,
)

CoreKind = Literal["none", "lstm", "gru", "min_gru"]
INPUT_INIT = nn.initializers.lecun_normal()


class LSTMMemory(NamedTuple):
    """What an LSTM carries from row to row."""

    hidden: jax.Array  # [B, H] its last output
    cell: jax.Array  # [B, H]


class LSTM(nn.Module):
    """Long short-term memory.

    Attributes:
        size: H, units.
        longest_memory: rows that the most patient unit remembers before training.

    Source:
        Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, with the forget
        gate of Gers et al. 2000.
    """

    size: int
    longest_memory: int = 100

    @nn.nowrap
    def initial_memory(self, batch_size: int) -> LSTMMemory:
        """Zeros, [B, H] each."""
        zeros = jnp.zeros((batch_size, self.size))
        return LSTMMemory(zeros, zeros)

    @nn.compact
    def __call__(
        self, memory: LSTMMemory, inputs: jax.Array, is_first: jax.Array
    ) -> tuple[LSTMMemory, jax.Array]:
        """Reads rows.

        Args:
            memory: [B, H] before the first row.
            inputs: [T, B, F].
            is_first: [T, B] bool; where True, memory is reset before the row is read.

        Returns:
            Memory after the last row, and outputs [T, B, H].
        """
        _check_rows(inputs, is_first)
        keep = _keep_bias(self.size, self.longest_memory)
        layer = _inputs_layer(-keep, keep, 0.0 * keep, 0.0 * keep)
        kernel = self.param("recurrent", _orthogonal_gates, (self.size, 4 * self.size))
        gates = split_gates(layer(inputs), 4)
        return read_rows(_lstm_cell, kernel, memory, gates, is_first)


class GRUMemory(NamedTuple):
    """What a GRU carries from row to row."""

    hidden: jax.Array  # [B, H] its last output


class GRU(nn.Module):
    """Gated recurrent unit, with the reset gate after the recurrent product.

    Attributes:
        size: H, units.
        longest_memory: as for LSTM.

    Source:
        Cho et al. 2014, arXiv:1406.1078, version 1.
    """

    size: int
    longest_memory: int = 100

    @nn.nowrap
    def initial_memory(self, batch_size: int) -> GRUMemory:
        """Zeros, [B, H]."""
        return GRUMemory(jnp.zeros((batch_size, self.size)))

    @nn.compact
    def __call__(
        self, memory: GRUMemory, inputs: jax.Array, is_first: jax.Array
    ) -> tuple[GRUMemory, jax.Array]:
        """Reads rows; arguments and results as for `LSTM`."""
        _check_rows(inputs, is_first)
        keep = _keep_bias(self.size, self.longest_memory)
        layer = _inputs_layer(0.0 * keep, keep, 0.0 * keep)
        kernel = self.param("recurrent", _orthogonal_gates, (self.size, 3 * self.size))
        gates = split_gates(layer(inputs), 3)
        return read_rows(_gru_cell, kernel, memory, gates, is_first)


class MinGRU(nn.Module):
    """A GRU whose gates see the input alone, so that it runs in parallel over time.

        z_t = sigmoid(W_z x_t + b_z)
        h_t = (1 - z_t) h_{t-1} + z_t (W_h x_t + b_h)

    Attributes:
        size: H, units.
        longest_memory: as for LSTM.

    Source:
        Feng et al. 2024, Were RNNs All We Needed?, section 3.1, arXiv:2410.01201.
    """

    size: int
    longest_memory: int = 100

    @nn.nowrap
    def initial_memory(self, batch_size: int) -> jax.Array:
        """Zeros, [B, H]."""
        return jnp.zeros((batch_size, self.size))

    @nn.compact
    def __call__(
        self, memory: jax.Array, inputs: jax.Array, is_first: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Reads rows; arguments and results as for `LSTM`, memory [B, H]."""
        _check_rows(inputs, is_first)
        keep = _keep_bias(self.size, self.longest_memory)
        layer = _inputs_layer(-keep, 0.0 * keep)
        update, candidate = jnp.split(layer(inputs), 2, axis=-1)
        # A factor of exactly 0 forgets exactly, also in the gradient.
        gate = nn.sigmoid(update)
        kept = jnp.where(is_first[..., None], 0.0, 1.0 - gate)
        added = gate * candidate
        outputs = linear_recurrence(kept, added, reset(memory, is_first[0]))
        return outputs[-1], outputs


Core = LSTM | GRU | MinGRU
CORES: dict[str, type[Core]] = {"lstm": LSTM, "gru": GRU, "min_gru": MinGRU}


@dataclasses.dataclass(frozen=True)
class CoreConfig:
    """Settings of a recurrent core.

    Attributes:
        kind: lstm, gru, or min_gru, which is parallel in time; none for a network
            without memory.
        size: units, from 1.
        longest_memory: rows that the most patient unit remembers before training, from
            2; learning may change it.

    Raises:
        ValueError: a setting is out of its range.
    """

    kind: CoreKind = "none"
    size: int = 64
    longest_memory: int = 100

    def __post_init__(self) -> None:
        check_at_least(1, size=self.size)
        check_at_least(2, longest_memory=self.longest_memory)

    def build(self) -> Core | None:
        """Builds the core; None if there is to be none."""
        if self.kind == "none":
            return None
        return CORES[self.kind](self.size, self.longest_memory)


def _check_rows(inputs: jax.Array, is_first: jax.Array) -> None:
    check_rank(3, inputs=inputs)
    check_shape(inputs.shape[:2], is_first=is_first)


def _lstm_cell(memory: LSTMMemory, projected: Gates, recurrent: Gates) -> LSTMMemory:
    """One row of an LSTM: gates in the order input, forget, output, new."""
    *gates, new = (x + y for x, y in zip(projected, recurrent, strict=True))
    input_gate, forget_gate, output_gate = map(nn.sigmoid, gates)
    cell = forget_gate * memory.cell + input_gate * jnp.tanh(new)
    return LSTMMemory(output_gate * jnp.tanh(cell), cell)


def _gru_cell(memory: GRUMemory, projected: Gates, recurrent: Gates) -> GRUMemory:
    """One row of a GRU: reset gate, update gate, new."""
    reset_gate = nn.sigmoid(projected[0] + recurrent[0])
    update_gate = nn.sigmoid(projected[1] + recurrent[1])
    new = jnp.tanh(projected[2] + reset_gate * recurrent[2])
    return GRUMemory(new + update_gate * (memory.hidden - new))


def _orthogonal_gates(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """An orthogonal [H, H] matrix for each gate, [H, G]."""
    size, width = shape
    keys = jax.random.split(key, width // size)
    initial = nn.initializers.orthogonal()
    return jnp.concatenate([initial(k, (size, size)) for k in keys], axis=-1)


def _inputs_layer(*biases: jax.Array) -> nn.Module:
    """The layer [..., F] to [..., G * H] of G gates that start with biases [H]."""
    bias = jnp.concatenate(biases)
    return Dense(
        len(bias), kernel_init=INPUT_INIT, bias_init=lambda key, shape, dtype: bias
    )


def _keep_bias(size: int, longest_memory: int) -> jax.Array:
    """Biases [H] of gates that keep what is remembered, for 2 rows up to the longest.

    A gate of value 1 - 1 / n keeps it for n rows on average.
    """
    rows = jnp.geomspace(2.0, longest_memory, size)
    return jnp.log(rows - 1.0)
