# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""What `zethane.service.deferral` counts, compiled: it is asked about each new UDP flow.

Switches and their ports are found in one table of hashes. Each second has a number of its own, its turn: what was
counted in an older one counts no more, so that a new second clears nothing. The table is made anew, without what is
old, when half of its places are taken.
"""

from os import urandom

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

cdef uint32_t ALL = 0xFFFFFFFFU  # a switch's flows, whatever their port: OFPP_ANY, which none is
cdef int FIRST_BITS = 8
cdef uint64_t SPREAD = int.from_bytes(urandom(8), "big") | 1


cdef class Deferral:
    """Counts flows within each second of the clock."""

    def __cinit__(self):
        self.bits, self.turn, self.second = FIRST_BITS, 2, -1
        self.counts = <Counted*>calloc(<size_t>1 << self.bits, sizeof(Counted))
        if self.counts == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.counts)

    def waits(self, tuple own not None, tuple far not None, int64_t many, int64_t share, double now):
        """Count a new flow from port `own` to port `far`; whether its rules are to wait."""
        return self.defers(own[0], own[1], far[0], far[1], many, share, now)

    cdef bint defers(
        self, uint64_t own, uint32_t own_port, uint64_t far, uint32_t far_port, int64_t many, int64_t share, double now
    ) except -1:  # fmt: skip
        cdef int64_t second = <int64_t>now
        cdef Counted* switch
        cdef Counted* here
        cdef Counted* there
        if second != self.second:
            self.turn += 1 if second == self.second + 1 else 2
            self.second = second
        if 2 * (self.used + 3) > <uint64_t>1 << self.bits:
            self.make_room()
        switch = self.of(own, ALL)
        switch.now += 1
        if switch.now < many and switch.before < many:
            return False
        here, there = self.of(own, own_port), self.of(far, far_port)
        if here.now >= share or there.now >= share:
            return False
        here.now += 1
        if there != here:
            there.now += 1
        return True

    cdef Counted* of(self, uint64_t dpid, uint32_t port) noexcept:
        """What is counted there in this second. There is room for it."""
        cdef Counted* one = self.place(dpid, port)
        if one.turn != self.turn:
            self.used += one.turn == 0
            one.dpid, one.port = dpid, port
            one.before = one.now if one.turn == self.turn - 1 else 0
            one.now, one.turn = 0, self.turn
        return one

    cdef Counted* place(self, uint64_t dpid, uint32_t port) noexcept:
        """Where it is, or would be."""
        cdef uint64_t at = ((dpid * 0x9E3779B97F4A7C15ULL ^ port) * SPREAD) >> (64 - self.bits)
        cdef Counted* one = &self.counts[at]
        while one.turn and (one.dpid != dpid or one.port != port):
            at = (at + 1) & ((<uint64_t>1 << self.bits) - 1)
            one = &self.counts[at]
        return one

    cdef int make_room(self) except -1:
        """Forget what is old, and have at least three places for each that is taken."""
        cdef Counted* before = self.counts
        cdef Counted* counts
        cdef uint64_t places = <uint64_t>1 << self.bits, at, used = 0
        cdef int bits = FIRST_BITS
        for at in range(places):
            used += before[at].turn != 0 and before[at].turn + 1 >= self.turn
        while <uint64_t>1 << bits < 4 * used:
            bits += 1
        counts = <Counted*>calloc(<size_t>1 << bits, sizeof(Counted))
        if counts == NULL:
            raise MemoryError
        self.counts, self.bits, self.used = counts, bits, used
        for at in range(places):
            if before[at].turn != 0 and before[at].turn + 1 >= self.turn:
                self.place(before[at].dpid, before[at].port)[0] = before[at]
        free(before)
        return 0
