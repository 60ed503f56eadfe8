"""NewReno as in RFC 9002 section 7."""

from cython_ext.core.controller cimport Algorithm

cdef Algorithm ALGORITHM
