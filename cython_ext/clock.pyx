"""The system's clock as a C function that is handed to those who read no clock themselves."""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint64_t

from cython_ext.abi.posix cimport realtime_ns


cdef uint64_t unix_ns() noexcept nogil:
    return realtime_ns()


# The name is the contract: whoever takes such a capsule asks for it.
UNIX_NS = PyCapsule_New(<void*> unix_ns, b"uint64_t (*)(void)", NULL)
