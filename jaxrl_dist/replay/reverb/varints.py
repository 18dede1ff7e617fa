"""Numbers as protobuf writes them: seven bits to a byte, many at once for keys."""

from collections.abc import Sequence

import numpy as np

KEY_BYTES = 10
_KEYS_AT_ONCE = 4096
SHIFTS = np.arange(0, 64, 7, dtype=np.uint64)  # of the groups of 7 bits
# All groups but the last say that more follow; the last of ten is one bit.
CONTINUED = np.array([0x80] * (KEY_BYTES - 1) + [0], np.uint8)
_LIMITS = np.uint64(1) << SHIFTS  # the least number that needs each group


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_SHORT = [_varint(value) for value in range(1 << 14)]


def varint(value: int) -> bytes:
    """A number from 0 in protobuf's variable-length encoding."""
    return _SHORT[value] if value < 1 << 14 else _varint(value)


def encode_keys(keys: Sequence[int]) -> list[bytes]:
    """Encodes many numbers of 64 bits at once; as varint does one."""
    numbers = np.array(keys, np.uint64)
    groups = ten_bytes(numbers)
    lengths = np.maximum(1, np.searchsorted(_LIMITS, numbers, side="right"))
    groups[np.arange(len(numbers)), lengths - 1] &= np.uint8(0x7F)
    encoded = groups.tobytes()
    starts = range(0, len(encoded), KEY_BYTES)
    return [
        encoded[start : start + length]
        for start, length in zip(starts, lengths.tolist(), strict=True)
    ]


class Keys:
    """Random keys for chunks and items, and their encoding.

    Their highest bit is set, so that all are encoded in ten bytes, and 63 bits are
    random: among 10^8 keys two are alike with probability 5e-4.
    """

    def __init__(self) -> None:
        self._generator = np.random.default_rng()
        self._drawn: list[tuple[int, bytes]] = []

    def draw(self, count: int) -> list[tuple[int, bytes]]:
        """Draws keys, each with its encoding."""
        while len(self._drawn) < count:
            keys = self._generator.integers(
                1 << 63, 1 << 64, size=_KEYS_AT_ONCE, dtype=np.uint64
            ).tolist()
            self._drawn += zip(keys, encode_keys(keys), strict=True)
        drawn = self._drawn[-count:]
        del self._drawn[-count:]
        return drawn


def ten_bytes(keys: np.ndarray) -> np.ndarray:
    """[N] uint64 numbers as varints [N, 10] of full length."""
    return (keys[:, None] >> SHIFTS).astype(np.uint8) | CONTINUED
