"""Element types: TensorFlow's numbers on the wire, numpy's in memory.

Only types of fixed size that numpy or ml_dtypes has. Strings, resources and variants
are refused: they would have to be interpreted, not copied.
"""

import ml_dtypes
import numpy as np

from jaxrl_dist.replay.reverb.errors import ProtocolError, SignatureError

# The numbers are those of tensorflow/core/framework/types.proto.
_NUMBERS = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    4: np.uint8,
    5: np.int16,
    6: np.int8,
    8: np.complex64,
    9: np.int64,
    10: np.bool_,
    14: ml_dtypes.bfloat16,
    17: np.uint16,
    18: np.complex128,
    19: np.float16,
    22: np.uint32,
    23: np.uint64,
    24: ml_dtypes.float8_e5m2,
    25: ml_dtypes.float8_e4m3fn,
}
_TO_DTYPE = {number: np.dtype(kind) for number, kind in _NUMBERS.items()}
_TO_NUMBER = {dtype: number for number, dtype in _TO_DTYPE.items()}
_BY_NAME = {dtype.name: dtype for dtype in _TO_NUMBER}


def dtype_number(dtype: np.dtype) -> int:
    """The wire's number of a dtype.

    Raises:
        SignatureError: Reverb has no such type.
    """
    number = _TO_NUMBER.get(np.dtype(dtype))
    if number is None:
        known = ", ".join(sorted(_BY_NAME))
        raise SignatureError(f"Reverb cannot hold dtype {dtype}; it can hold {known}")
    return number


def dtype_of_number(number: int) -> np.dtype:
    """The dtype of a number on the wire.

    Raises:
        ProtocolError: it is none of the types above.
    """
    dtype = _TO_DTYPE.get(number)
    if dtype is None:
        raise ProtocolError(f"a tensor has element type {number}, which is not decoded")
    return dtype


def dtype_of_name(name: str) -> np.dtype:
    """The dtype of a name such as "float32" or "bfloat16".

    Raises:
        SignatureError: there is none of that name.
    """
    if name not in _BY_NAME:
        known = ", ".join(sorted(_BY_NAME))
        raise SignatureError(f"unknown dtype {name!r}; known are {known}")
    return _BY_NAME[name]
