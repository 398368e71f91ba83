from libc.stdint cimport uint32_t


cdef class Output:
    cdef char* data
    cdef Py_ssize_t size, room, sent
    cdef uint32_t xid

    cdef char* reserve(self, Py_ssize_t size) except NULL
    cdef inline uint32_t number(self) noexcept
    cdef int send(self, int fd) noexcept
