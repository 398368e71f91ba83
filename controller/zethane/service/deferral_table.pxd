from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef struct Counted:
    # The flows of a port, or of all ports of a switch, in the last second that it had any, and in the one before that.
    uint64_t dpid, turn
    int64_t now, before
    uint32_t port


cdef class Deferral:
    cdef Counted* counts
    cdef int bits
    cdef uint64_t used, turn
    cdef int64_t second

    cdef bint defers(
        self, uint64_t own, uint32_t own_port, uint64_t far, uint32_t far_port, int64_t many, int64_t share, double now
    ) except -1
    cdef Counted* of(self, uint64_t dpid, uint32_t port) noexcept
    cdef Counted* place(self, uint64_t dpid, uint32_t port) noexcept
    cdef int make_room(self) except -1
