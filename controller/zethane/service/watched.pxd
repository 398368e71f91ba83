from libc.stdint cimport int64_t


cdef class Kept:
    cdef bint fits
    cdef int64_t opened
    cdef object session


cdef class Watched:
    cdef Kept kept
    cdef int64_t count

    cdef void keep(self, Kept kept) noexcept
    cdef void let_go(self) noexcept
