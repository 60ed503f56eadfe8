"""The connections of an endpoint: found by id, listed by what they have to do.

Owns one reference to each connection. A chained hash by our own ids, whose last eight bytes are random
and so their own hash; a list of those that may have something to send, one of those with events, and the
heap of timers.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from cython_ext.abi.endian cimport load64
from cython_ext.core.conn cimport conn_touch, list_push
from cython_ext.core.connection cimport conn_next_timer, conn_release
from cython_ext.core.schedule cimport heap_remove, heap_set
from cython_ext.core.state cimport CLOSED

cdef enum:
    FIRST_BUCKETS = 64


cdef class ConnectionTable:
    """The base of `Endpoint`; nothing of it is for Python."""

    def __dealloc__(self):
        cdef uint32_t n
        cdef Conn* c
        cdef Conn* following
        for n in range(self.bucket_count):
            c = self.buckets[n]
            while c != NULL:
                following = c.hash_next
                c.touched = NULL
                conn_release(c)
                c = following
        free(self.buckets)
        free(self.touched.items)
        free(self.ready.items)
        free(self.heap.items)

    cdef Conn* find(self, const uint8_t* id) noexcept nogil:
        cdef Conn* c
        if self.bucket_count == 0:
            return NULL
        c = self.buckets[load64(id + 8) & (self.bucket_count - 1)]
        while c != NULL and memcmp(c.own_id, id, 16) != 0:
            c = c.hash_next
        return c

    cdef bint insert(self, Conn* c) noexcept nogil:
        cdef uint32_t capacity, n, at
        cdef Conn** grown
        cdef Conn* moved
        cdef Conn* following
        if self.conn_count >= self.bucket_count:
            capacity = self.bucket_count * 2 if self.bucket_count else FIRST_BUCKETS
            grown = <Conn**> calloc(capacity, sizeof(Conn*))
            if grown == NULL:
                return False
            for n in range(self.bucket_count):
                moved = self.buckets[n]
                while moved != NULL:
                    following = moved.hash_next
                    at = load64(moved.own_id + 8) & (capacity - 1)
                    moved.hash_next = grown[at]
                    grown[at] = moved
                    moved = following
            free(self.buckets)
            self.buckets = grown
            self.bucket_count = capacity
        at = load64(c.own_id + 8) & (self.bucket_count - 1)
        c.hash_next = self.buckets[at]
        self.buckets[at] = c
        self.conn_count += 1
        c.touched = &self.touched
        return True

    cdef void remove(self, Conn* c) noexcept nogil:
        cdef Conn** link = &self.buckets[load64(c.own_id + 8) & (self.bucket_count - 1)]
        while link[0] != c:
            link = &link[0].hash_next
        link[0] = c.hash_next
        self.conn_count -= 1

    cdef void touch(self, Conn* c) noexcept nogil:
        conn_touch(c)

    cdef Conn* next_touched(self) noexcept nogil:
        """Return the next connection that may have something to send; NULL when there is none."""
        if self.touched_at >= self.touched.count:
            self.touched_at = self.touched.count = 0
            return NULL
        return self.touched.items[self.touched_at]

    cdef void settle(self, Conn* c) noexcept nogil:
        """Take *c* off the touched list: it said 0 to conn_poll. Timers and events are brought up to date."""
        self.touched_at += 1
        c.is_touched = False
        heap_set(&self.heap, c, conn_next_timer(c))
        if (c.events or c.readies.first != NULL or c.state == CLOSED) and not c.is_ready and list_push(&self.ready, c):
            c.is_ready = True

    cdef void drop(self, Conn* c) noexcept nogil:
        """Forget *c*: out of the table and of every list but `ready`, and its reference is given up."""
        cdef uint32_t n
        if c.heap_index:
            heap_remove(&self.heap, c)
        if c.is_touched:
            for n in range(self.touched_at, self.touched.count):
                if self.touched.items[n] == c:
                    self.touched.items[n] = self.touched.items[self.touched.count - 1]
                    self.touched.count = self.touched.count - 1
                    break
            c.is_touched = False
        c.touched = NULL
        self.remove(c)
        conn_release(c)
