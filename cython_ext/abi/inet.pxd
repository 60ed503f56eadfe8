"""Numeric addresses, text to bytes and back: pure functions of the C library, no I/O."""

cdef extern from "<arpa/inet.h>" nogil:
    enum:
        AF_INET
        AF_INET6
        INET6_ADDRSTRLEN
    int inet_pton(int family, const char* text, void* out)
    const char* inet_ntop(int family, const void* data, char* out, unsigned int size)
