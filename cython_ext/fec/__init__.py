"""Forward error correction: Reed-Solomon over GF(2^8); knows nothing of packets."""

from cython_ext.fec.kernels import available_kernels, kernel_in_use, use_kernel
from cython_ext.fec.reed_solomon import (
    ReedSolomon,
    ReedSolomonError,
    RunningParity,
    TooManyErasures,
)

__all__ = [
    "ReedSolomon",
    "ReedSolomonError",
    "RunningParity",
    "TooManyErasures",
    "available_kernels",
    "kernel_in_use",
    "use_kernel",
]
