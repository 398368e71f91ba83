from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from cpython.ref cimport PyObject

from zethane.service.watched cimport Facts


cdef struct Key:
    # One direction of a connection; IPv4 addresses in the first four bytes, the others are 0.
    uint8_t src[16]
    uint8_t dst[16]
    uint16_t sport
    uint16_t dport
    uint8_t proto
    uint8_t size


cdef struct Link:
    Link* before
    Link* after
    PyObject* flow


cdef struct Chain:
    Link* first
    Link* last
    uint32_t length


cdef struct Slot:
    uint64_t hash
    PyObject* flow


cdef struct Page:
    # Of 1,024 sessions each: its flows, and how many are out of force and wait for counters.
    Chain chains[1024]
    uint32_t awaited[1024]
    uint32_t used


cdef uint64_t hash_of(const Key* key) noexcept nogil
cdef bint same(const Key* one, const Key* other) noexcept nogil
cdef bint reversed_of(const Key* one, const Key* other) noexcept nogil


cdef class LiveFlow:
    cdef Key wire
    cdef readonly uint32_t subject
    cdef uint32_t to
    cdef public uint32_t rule, subject_class, object_class
    cdef public int alive
    cdef public int idle_timeout
    cdef public int tests
    cdef int32_t queue
    cdef double when
    cdef Facts* opener
    cdef Facts* opened
    cdef object session_from, session_to
    cdef public double started, installed, ends
    cdef uint64_t sent[4]
    cdef uint64_t recorded[4]
    cdef uint32_t forward_replaced, return_replaced
    cdef uint64_t hash
    cdef PyObject* table
    cdef int32_t at_subject, at_object
    cdef Link everywhere, of_subject, of_object, in_queue
    # out of force:
    cdef Link in_wait
    cdef object why
    cdef double closed_at

    cdef void add_up(self, int direction, uint64_t packets, uint64_t octets) noexcept


cdef class FlowTable:
    cdef Slot* slots
    cdef uint64_t mask
    cdef Chain everything
    cdef Page* pages[16384]
    cdef dict places
    cdef int64_t* counts
    cdef int64_t* timed
    cdef int32_t room_for_places
    cdef Chain* queues
    cdef int32_t seconds[32]
    cdef int32_t until[1280]
    cdef object unanswered
    cdef object idle
    cdef Slot* waiting
    cdef uint64_t waiting_mask
    cdef Chain awaited
    cdef object followed
    cdef Py_ssize_t idle_others

    cdef PyObject* lookup(self, const Key* key, uint64_t hash, int* direction) noexcept nogil
    cdef inline PyObject* by_hash(self, uint64_t hash) noexcept nogil
    cdef void fetch_slot(self, uint64_t hash) noexcept nogil
    cdef void fetch_flow(self, uint64_t hash) noexcept nogil
    cdef void fetch_neighbours(self, uint64_t hash) noexcept nogil
    cdef void fetch_chain(self, uint32_t number) noexcept nogil
    cdef void fetch_last(self, uint32_t number) noexcept nogil
    cdef int32_t place_of(self, object dpid) except -1
    cdef Chain* chain(self, uint32_t number, bint make) except? NULL
    cdef inline void join(self, uint32_t number, Link* link) noexcept
    cdef inline void part(self, uint32_t number, Link* link) noexcept
    cdef inline void unused(self, uint32_t number, bint so) noexcept
    cdef inline void tally(self, LiveFlow flow, int64_t flows, int64_t timed) noexcept
    cdef int enter(self, LiveFlow flow) except -1
    cdef void leave(self, LiveFlow flow) noexcept
    cdef int grow(self) except -1
    cdef void fetch_around(self, LiveFlow flow) noexcept
    cdef int put_out(self, LiveFlow flow, object why, double now) except -1
    cdef PyObject* find_waiting(
        self, const Key* key, uint64_t hash, uint32_t subject, uint32_t to, bint back
    ) noexcept nogil
    cdef inline void await_more(self, uint32_t number) noexcept
    cdef inline void await_less(self, uint32_t number) noexcept
    cdef void stop_waiting(self, LiveFlow flow) noexcept
    cdef object no_more_of(self, PyObject* waiting)
    cdef bint awaits(self, uint32_t number) noexcept nogil
    cdef bint remembers(self, const Key* wire) except -1
    cdef int32_t until_test(self, LiveFlow flow) except -1
    cdef int queue_up(self, LiveFlow flow, int32_t seconds, int32_t queue, double now) except -1
    cdef void out_of_queue(self, LiveFlow flow) noexcept
    cdef object first_of(self, object dpid, int32_t queue, double now)
