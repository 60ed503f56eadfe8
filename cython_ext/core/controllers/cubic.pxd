"""CUBIC (RFC 9438) with HyStart++ (RFC 9406)."""

from cython_ext.core.controller cimport Algorithm

cdef Algorithm ALGORITHM
