"""Random permutations without a sort, which is what shuffling usually costs."""

import math

import jax
import jax.numpy as jnp

ROUNDS = 8
SMALLEST = 8  # a half with fewer values hides the order too little


def permutation(key: jax.Array, size: int) -> jax.Array:
    """Draws a pseudo-random permutation of 0 .. size - 1.

    A generalised Feistel cipher over pairs (l, r) in Z_a x Z_b with a * b = size: each
    round adds a keyed hash of one half to the other, which can be undone, so the whole
    is a bijection whatever the hash. Where one half would have fewer than `SMALLEST`
    values, the numbers are sorted by random keys instead.

    Args:
        key: random key; used up.
        size: how many numbers, at least 1.

    Returns:
        [size] int32, each number once.

    Source:
        Black and Rogaway 2002, Ciphers with Arbitrary Finite Domains, method 3
        (generalized Feistel), doi:10.1007/3-540-45760-7_9.
    """
    left, right = _middle_divisors(size)
    if left < SMALLEST:
        return jax.random.permutation(key, size)
    round_keys = jax.random.bits(key, (ROUNDS,), jnp.uint32)
    index = jnp.arange(size, dtype=jnp.uint32)
    high, low = index // right, index % right
    for number in range(0, ROUNDS, 2):
        high = (high + _hash(low, round_keys[number]) % left) % left
        low = (low + _hash(high, round_keys[number + 1]) % right) % right
    return (high * right + low).astype(jnp.int32)


def _middle_divisors(size: int) -> tuple[int, int]:
    """The two factors of a number that are nearest each other, the smaller first."""
    left = next(d for d in range(math.isqrt(size), 0, -1) if size % d == 0)
    return left, size // left


def _hash(values: jax.Array, round_key: jax.Array) -> jax.Array:
    """Mixes 32 bits with a key: two rounds of multiply and xor-shift."""
    mixed = (values ^ round_key) * jnp.uint32(0x7FEB352D)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x846CA68B)
    return mixed ^ (mixed >> 16) ^ (round_key >> 3)
