# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled half of the hot path."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from zethane.service.switch import PacketIn

cdef Py_ssize_t KEPT_ROOM = 1 << 20


cdef class Output:
    """Messages that are collected until they are written with one call. `zethane.adapters.openflow.output` is alike."""

    def __cinit__(self):
        self.xid = 1
        self.room = 1 << 14
        self.size = 0
        self.data = <char*>malloc(self.room)
        if self.data == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.data)

    def __bool__(self):
        return self.size > 0

    cdef char* reserve(self, Py_ssize_t size) except NULL:
        """Room for so many bytes behind what is there; they count as written."""
        cdef Py_ssize_t wanted = self.size + size, room = self.room
        cdef char* data
        if wanted > room:
            while room < wanted:
                room *= 2
            data = <char*>realloc(self.data, room)
            if data == NULL:
                raise MemoryError
            self.data, self.room = data, room
        data = self.data + self.size
        self.size = wanted
        return data

    cdef inline uint32_t number(self) noexcept:
        cdef uint32_t xid = self.xid
        self.xid = 1 if xid == 0xFFFFFFFF else xid + 1
        return xid

    def next_xid(self):
        """The number of the next message: 1 to 2^32 - 1, and from the beginning again."""
        return self.number()

    def append(self, bytes message not None):
        """One message more."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
        memcpy(self.reserve(size), PyBytes_AS_STRING(message), size)

    def extend(self, messages):
        """Several messages more."""
        for message in messages:
            self.append(message)

    def take(self):
        """All of them; nothing is collected then."""
        cdef char* smaller
        taken = PyBytes_FromStringAndSize(self.data, self.size)
        self.size = 0
        if self.room > KEPT_ROOM:
            smaller = <char*>realloc(self.data, KEPT_ROOM)
            if smaller != NULL:
                self.data, self.room = smaller, KEPT_ROOM
        return taken


cdef inline uint16_t be16(const uint8_t* at) noexcept nogil:
    return <uint16_t>(at[0] << 8 | at[1])


cdef inline uint32_t be32(const uint8_t* at) noexcept nogil:
    return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]


cdef inline uint64_t be64(const uint8_t* at) noexcept nogil:
    return <uint64_t>be32(at) << 32 | be32(at + 4)


cdef struct Up:
    # A packet-in.
    uint32_t port
    uint8_t table
    uint64_t cookie
    uint64_t metadata
    Py_ssize_t frame  # where its frame begins


cdef bint read_up(const uint8_t* message, Py_ssize_t size, Up* up) noexcept nogil:
    """Read a packet-in of `size` bytes; whether it is well formed. Nothing beyond its length is read."""
    cdef Py_ssize_t length, at, stop
    cdef uint32_t header
    if size < 34:
        return False
    length = be16(message + 26)
    up.frame = 24 + (length + 7) // 8 * 8 + 2
    if be16(message + 24) != 1 or length < 4 or up.frame > size:
        return False
    up.table = message[15]
    up.cookie = be64(message + 16)
    up.port = 0
    up.metadata = 0
    at, stop = 28, 24 + length
    while at + 4 <= stop:
        header = be32(message + at)
        if at + 4 + <Py_ssize_t>(header & 0xFF) > stop:
            return False
        if header == 0x80000004U:
            up.port = be32(message + at + 4)
        elif header == 0x80000408U or header == 0x80000510U:
            up.metadata = be64(message + at + 4)
        at += 4 + <Py_ssize_t>(header & 0xFF)
    return True


def read_packet_in(bytes message not None):
    """The packet-in in a whole message; None if it is malformed."""
    cdef Up up
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
    cdef char* data = PyBytes_AS_STRING(message)
    if not read_up(<const uint8_t*>data, size, &up):
        return None
    frame = PyBytes_FromStringAndSize(data + up.frame, size - up.frame)
    return PacketIn(up.port, up.table, up.cookie, up.metadata, frame)
