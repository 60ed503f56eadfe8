"""The heap that knows whose timer is next.

A binary heap in which each connection knows its place, so that changing a deadline is O(log n) without a
search. It borrows connections and owns only its arrays.
"""

from libc.stdint cimport int64_t, uint32_t

from cython_ext.core.conn cimport Conn, ConnList, list_push


cdef inline void heap_put(ConnList* heap, uint32_t at, Conn* c) noexcept nogil:
    heap.items[at] = c
    c.heap_index = at + 1


cdef void heap_up(ConnList* heap, uint32_t at) noexcept nogil:
    cdef Conn* c = heap.items[at]
    cdef uint32_t parent
    while at > 0:
        parent = (at - 1) // 2
        if heap.items[parent].timer_ns <= c.timer_ns:
            break
        heap_put(heap, at, heap.items[parent])
        at = parent
    heap_put(heap, at, c)


cdef void heap_down(ConnList* heap, uint32_t at) noexcept nogil:
    cdef Conn* c = heap.items[at]
    cdef uint32_t child
    while True:
        child = 2 * at + 1
        if child >= heap.count:
            break
        if child + 1 < heap.count and heap.items[child + 1].timer_ns < heap.items[child].timer_ns:
            child += 1
        if c.timer_ns <= heap.items[child].timer_ns:
            break
        heap_put(heap, at, heap.items[child])
        at = child
    heap_put(heap, at, c)


cdef void heap_remove(ConnList* heap, Conn* c) noexcept nogil:
    cdef uint32_t at = c.heap_index - 1
    cdef Conn* last
    c.heap_index = 0
    heap.count -= 1
    if at == heap.count:
        return
    last = heap.items[heap.count]
    heap_put(heap, at, last)
    heap_up(heap, at)
    heap_down(heap, last.heap_index - 1)


cdef void heap_set(ConnList* heap, Conn* c, int64_t due_ns) noexcept nogil:
    if due_ns == 0:
        if c.heap_index:
            heap_remove(heap, c)
    elif c.heap_index:
        c.timer_ns = due_ns
        heap_up(heap, c.heap_index - 1)
        heap_down(heap, c.heap_index - 1)
    else:
        c.timer_ns = due_ns
        if list_push(heap, c):
            c.heap_index = heap.count
            heap_up(heap, heap.count - 1)
