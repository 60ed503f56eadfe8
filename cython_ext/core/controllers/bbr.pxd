"""BBR version 3 (draft-ietf-ccwg-bbr)."""

from cython_ext.core.controller cimport Algorithm

cdef Algorithm ALGORITHM
