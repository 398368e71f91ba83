from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef struct Facts:
    # What the hot path needs to know of a session: two lines of the cache, and nothing else is looked at.
    PyObject* session
    int64_t opened
    uint32_t uses
    uint32_t number
    uint32_t session_class
    uint32_t port
    void* owner  # whose switches these are
    PyObject* switch
    uint16_t vlan
    uint8_t fits
    uint8_t addresses
    uint8_t sizes[8]
    uint8_t numbered  # whether `who` begins behind the number
    uint64_t mac
    PyObject* who
    uint8_t* packed  # the addresses, one behind the other: here, if there is room
    uint8_t own[40]


cdef Facts* new_facts() except NULL
cdef void drop(Facts* facts) noexcept


cdef class Watched:
    cdef Facts* facts
    cdef int64_t count

    cdef void keep(self, Facts* facts) noexcept
    cdef void let_go(self) noexcept
