# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The live flows, compiled: what `zethane.service.flows` says in Python, in less memory and with fewer looks at it.

A flow has its key as bytes, and is a link of three chains: of all flows, of its subject's, and of its object's, each
in the order in which the flows came. One table of hashes finds it by either direction: the hash of a key is that of
its reverse. The hash has a secret, for hosts choose their ports.

Flows that are out of force and have their last counters still to come are found by a table of their own, and are in a
chain of their own: a session that is revoked has ten thousand of them, and while they are closed nothing else is done.

The table owns a reference to each flow that is entered, and to each that waits for counters; chains and the tables of
hashes only borrow. A flow refers to nothing that could refer to it, so that the garbage collector need not look at flows.
"""

import math
import os
from collections import OrderedDict, deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset
cimport cython

from zethane.service.watched cimport Facts, drop

from zethane.net.flowkey import FlowKey
from zethane.pipeline.bindings import flow_lease

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t zt_fold(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    static inline void zt_fetch(const void *at) { __builtin_prefetch(at, 1); }
    static inline uint64_t zt_word(const unsigned char *at) {
        uint64_t word;
        __builtin_memcpy(&word, at, 8);
        return word;
    }
    """
    void zt_fetch(const void* at) noexcept nogil
    uint64_t zt_fold(uint64_t a, uint64_t b) noexcept nogil
    uint64_t zt_word(const uint8_t* at) noexcept nogil

cdef int FLOW_SIZE = 440
"""Bytes of a flow, roughly."""
cdef int FORWARD = 1
cdef int RETURN = 2
cdef int ICMP = 1
cdef int TCP = 6
cdef int ICMPV6 = 58
cdef double INFINITY = math.inf
cdef uint64_t MOST = 0xFFFFFFFFFFFFFFFFULL
cdef uint64_t FIRST_SLOTS = 4096

cdef int AHEAD = 8
"""Flows by which memory is asked for before it is needed, where many are closed one after the other."""

cdef int QUEUES = 32
cdef int ON_TRIAL = 0
"""The first of a switch's queues; the others are for those that wait so many seconds."""

cdef uint64_t secrets[4]


cdef void choose_secrets():
    cdef bytes chosen = os.urandom(32)
    memcpy(secrets, PyBytes_AS_STRING(chosen), 32)


choose_secrets()


cdef uint64_t hash_of(const Key* key) noexcept nogil:
    cdef uint64_t one, other
    one = zt_fold(zt_word(key.src) ^ secrets[0], zt_word(key.src + 8) ^ secrets[1] ^ (<uint64_t>key.sport << 32 | key.sport))
    other = zt_fold(zt_word(key.dst) ^ secrets[0], zt_word(key.dst + 8) ^ secrets[1] ^ (<uint64_t>key.dport << 32 | key.dport))
    return zt_fold(one + other ^ secrets[2], (<uint64_t>key.proto << 8 | key.size) ^ secrets[3])


cdef bint same(const Key* one, const Key* other) noexcept nogil:
    return (
        one.sport == other.sport
        and one.dport == other.dport
        and one.proto == other.proto
        and one.size == other.size
        and memcmp(one.src, other.src, 32) == 0
    )


cdef bint reversed_of(const Key* one, const Key* other) noexcept nogil:
    return (
        one.sport == other.dport
        and one.dport == other.sport
        and one.proto == other.proto
        and one.size == other.size
        and memcmp(one.src, other.dst, 16) == 0
        and memcmp(one.dst, other.src, 16) == 0
    )


cdef bint packed(object key, Key* wire) except -1:
    """Take over a FlowKey; whether it is one of IP."""
    cdef object src = key[0], dst = key[1]
    cdef Py_ssize_t size
    memset(wire, 0, sizeof(Key))
    if not isinstance(src, bytes) or not isinstance(dst, bytes):
        return False
    size = PyBytes_GET_SIZE(src)
    if PyBytes_GET_SIZE(dst) != size or size not in (4, 16):
        return False
    if not (0 <= key[2] <= 0xFF and 0 <= key[3] <= 0xFFFF and 0 <= key[4] <= 0xFFFF):
        return False
    memcpy(wire.src, PyBytes_AS_STRING(src), size)
    memcpy(wire.dst, PyBytes_AS_STRING(dst), size)
    wire.proto, wire.sport, wire.dport, wire.size = key[2], key[3], key[4], <uint8_t>size
    return True


cdef object unpacked(const Key* wire):
    return FlowKey(
        PyBytes_FromStringAndSize(<const char*>wire.src, wire.size),
        PyBytes_FromStringAndSize(<const char*>wire.dst, wire.size),
        wire.proto,
        wire.sport,
        wire.dport,
    )


cdef inline uint64_t hash_of_place(uint64_t hash, uint32_t subject, uint32_t to) noexcept nogil:
    """The hash under which a flow waits for its counters, from that of its key: its ends are part of it."""
    return zt_fold(hash ^ secrets[1], (<uint64_t>subject << 32 | to) ^ secrets[3])


cdef inline void put_slot(Slot* slots, uint64_t mask, uint64_t hash, PyObject* flow) noexcept nogil:
    """Have a flow found under this hash. There has to be room."""
    cdef uint64_t at = hash & mask
    while slots[at].flow != NULL:
        at = at + 1 & mask
    slots[at].hash, slots[at].flow = hash, flow


cdef inline void take_slot(Slot* slots, uint64_t mask, uint64_t hash, PyObject* flow) noexcept nogil:
    """The reverse, for a flow that is there."""
    cdef uint64_t hole = hash & mask, at, home
    while slots[hole].flow != flow:
        hole = hole + 1 & mask
    at = hole
    while True:  # what comes behind moves up, so that no search ends too early
        at = at + 1 & mask
        if slots[at].flow == NULL:
            break
        home = slots[at].hash & mask
        if (at - home & mask) >= (at - hole & mask):
            slots[hole] = slots[at]
            hole = at
    slots[hole].hash, slots[hole].flow = 0, NULL


cdef Slot* larger(Slot* slots, uint64_t mask) except NULL:
    """Twice as many slots, with what these had, which are given back. The flows themselves are not looked at."""
    cdef uint64_t at, twice = mask * 2 + 1
    cdef Slot* found = <Slot*>calloc(twice + 1, sizeof(Slot))
    if found == NULL:
        raise MemoryError
    for at in range(mask + 1):
        if slots[at].flow != NULL:
            put_slot(found, twice, slots[at].hash, slots[at].flow)
    free(slots)
    return found


cdef inline uint64_t sum_of(uint64_t one, uint64_t other) noexcept nogil:
    return one + other if other <= MOST - one else MOST


cdef struct Kind:
    # A rule and a group of its flows, and the latest end of one of them.
    uint32_t rule, subject_class, object_class
    uint16_t port
    uint8_t proto
    bint used
    double ends


cdef class Kinds:
    """Rules with groups of flows, as `LiveFlow.group` has them."""

    cdef Kind* slots
    cdef uint64_t mask, count

    def __cinit__(self):
        self.mask = 255
        self.slots = <Kind*>calloc(self.mask + 1, sizeof(Kind))
        if self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.slots)

    cdef Kind* place(self, const Kind* one) noexcept:
        """Where it is, or may be put."""
        cdef uint64_t ends = <uint64_t>one.subject_class << 32 | one.object_class
        cdef uint64_t at = zt_fold(ends ^ secrets[0], (<uint64_t>one.rule << 24 | <uint64_t>one.port << 8 | one.proto) ^ secrets[1])
        cdef Kind* slot = self.slots + (at & self.mask)
        while slot.used and not (
            slot.rule == one.rule
            and slot.subject_class == one.subject_class
            and slot.object_class == one.object_class
            and slot.port == one.port
            and slot.proto == one.proto
        ):
            at += 1
            slot = self.slots + (at & self.mask)
        return slot

    cdef int add(self, const Kind* one) except -1:
        cdef Kind* slot = self.place(one)
        cdef Kind* before = self.slots
        cdef uint64_t at, size = self.mask + 1
        if slot.used:
            if one.ends > slot.ends:
                slot.ends = one.ends
            return 0
        slot[0] = one[0]
        slot.used = True
        self.count += 1
        if self.count * 2 > self.mask:
            slot = <Kind*>calloc(2 * size, sizeof(Kind))
            if slot == NULL:
                raise MemoryError
            self.slots, self.mask = slot, 2 * size - 1
            for at in range(size):
                if before[at].used:
                    self.place(&before[at])[0] = before[at]
            free(before)
        return 0


cdef inline Kind kind_of(LiveFlow flow) noexcept:
    cdef Kind one
    one.rule, one.subject_class, one.object_class = flow.rule, flow.subject_class, flow.object_class
    one.proto, one.port = flow.wire.proto, 0 if flow.wire.proto in (ICMP, ICMPV6) else flow.wire.dport
    one.used, one.ends = True, flow.ends
    return one


@cython.no_gc
cdef class LiveFlow:
    """One connection. `zethane.service.flows.LiveFlow` says what is what."""

    def __cinit__(self):
        self.everywhere.flow = self.of_subject.flow = self.of_object.flow = self.in_queue.flow = <PyObject*>self
        self.in_wait.flow = <PyObject*>self
        self.queue = self.at_subject = self.at_object = -1

    def __dealloc__(self):
        if self.opener != NULL:
            drop(self.opener)
        if self.opened != NULL:
            drop(self.opened)

    def __init__(
        self, key, subject, object, rule, subject_class, object_class, opened_by, opened_to, started, installed,
        alive=3, packets=0, octets=0, return_packets=0, return_octets=0, told=(0, 0, 0, 0), ends=INFINITY,
        idle_timeout=0, tests=0, replaced=(0, 0),
    ):  # fmt: skip
        if self.table != NULL or self.why is not None:
            raise ValueError("a flow that is entered, or waits for its counters, stays what it is")
        if not packed(key, &self.wire):
            raise ValueError("the key is not one of IP")
        self.hash = hash_of(&self.wire)
        self.subject, self.to, self.rule = subject, object, rule
        self.subject_class, self.object_class = subject_class, object_class
        self.opened_by, self.opened_to = opened_by, opened_to
        self.started, self.installed, self.ends = started, installed, ends
        self.alive, self.idle_timeout, self.tests = alive, idle_timeout, tests
        self.sent[0], self.sent[1] = packets, octets
        self.sent[2], self.sent[3] = return_packets, return_octets
        self.told = told
        self.replaced = replaced

    def __repr__(self):
        return f"LiveFlow({self.key}, subject={self.subject}, object={self.to}, rule={self.rule}, alive={self.alive})"

    @property
    def key(self):
        return unpacked(&self.wire)

    @property
    def object(self):
        return self.to

    @property
    def opened_by(self):
        return <object>self.opener.session if self.opener != NULL else self.session_from

    @opened_by.setter
    def opened_by(self, session):
        self.session_from = session
        if self.opener != NULL:
            drop(self.opener)
            self.opener = NULL

    @property
    def opened_to(self):
        return <object>self.opened.session if self.opened != NULL else self.session_to

    @opened_to.setter
    def opened_to(self, session):
        self.session_to = session
        if self.opened != NULL:
            drop(self.opened)
            self.opened = NULL

    @property
    def packets(self):
        return self.sent[0]

    @packets.setter
    def packets(self, value):
        self.sent[0] = value

    @property
    def octets(self):
        return self.sent[1]

    @octets.setter
    def octets(self, value):
        self.sent[1] = value

    @property
    def return_packets(self):
        return self.sent[2]

    @return_packets.setter
    def return_packets(self, value):
        self.sent[2] = value

    @property
    def return_octets(self):
        return self.sent[3]

    @return_octets.setter
    def return_octets(self, value):
        self.sent[3] = value

    @property
    def told(self):
        return self.recorded[0], self.recorded[1], self.recorded[2], self.recorded[3]

    @told.setter
    def told(self, counts):
        self.recorded[0], self.recorded[1], self.recorded[2], self.recorded[3] = counts

    @property
    def replaced(self):
        return self.forward_replaced, self.return_replaced

    @replaced.setter
    def replaced(self, counts):
        self.forward_replaced, self.return_replaced = counts

    def lease(self, double until, double now):
        cdef int seconds = flow_lease(until, now)
        self.ends = now + seconds if seconds else INFINITY
        return seconds

    @property
    def counts(self):
        return self.sent[0], self.sent[1], self.sent[2], self.sent[3]

    @property
    def untold(self):
        return (
            self.sent[0] - self.recorded[0],
            self.sent[1] - self.recorded[1],
            self.sent[2] - self.recorded[2],
            self.sent[3] - self.recorded[3],
        )

    def afresh(self):
        cdef LiveFlow other = LiveFlow.__new__(LiveFlow)
        other.wire, other.hash = self.wire, self.hash
        other.subject, other.to, other.rule = self.subject, self.to, self.rule
        other.subject_class, other.object_class = self.subject_class, self.object_class
        other.session_from, other.session_to = self.opened_by, self.opened_to
        other.started, other.installed, other.ends = self.started, self.installed, self.ends
        other.idle_timeout = self.idle_timeout
        return other

    @property
    def switches(self):
        return {self.opened_by.attachment.dpid, self.opened_to.attachment.dpid}

    def replace_rules(self):
        self.forward_replaced += self.alive & FORWARD > 0
        self.return_replaced += self.alive & RETURN > 0
        self.alive = FORWARD | RETURN

    def expect_reports_of(self, LiveFlow other not None):
        self.forward_replaced += other.forward_replaced + (other.alive & FORWARD > 0)
        self.return_replaced += other.return_replaced + (other.alive & RETURN > 0)

    def is_replaced(self, int direction):
        if direction == FORWARD:
            if self.forward_replaced == 0:
                return False
            self.forward_replaced -= 1
        else:
            if self.return_replaced == 0:
                return False
            self.return_replaced -= 1
        return True

    @property
    def group(self):
        cdef int proto = self.wire.proto
        return self.subject_class, self.object_class, proto, 0 if proto in (ICMP, ICMPV6) else self.wire.dport

    cdef void add_up(self, int direction, uint64_t packets, uint64_t octets) noexcept:
        cdef int at = 0 if direction == FORWARD else 2
        self.sent[at] = sum_of(self.sent[at], packets)
        self.sent[at + 1] = sum_of(self.sent[at + 1], octets)

    def count(self, int direction, uint64_t packets, uint64_t octets):
        self.add_up(direction, packets, octets)


cdef inline void put_last(Chain* chain, Link* link) noexcept nogil:
    link.before, link.after = chain.last, NULL
    if chain.last != NULL:
        chain.last.after = link
    else:
        chain.first = link
    chain.last = link
    chain.length += 1


cdef inline void put_first(Chain* chain, Link* link) noexcept nogil:
    link.before, link.after = NULL, chain.first
    if chain.first != NULL:
        chain.first.before = link
    else:
        chain.last = link
    chain.first = link
    chain.length += 1


cdef inline void take_out(Chain* chain, Link* link) noexcept nogil:
    if link.before != NULL:
        link.before.after = link.after
    else:
        chain.first = link.after
    if link.after != NULL:
        link.after.before = link.before
    else:
        chain.last = link.before
    link.before = link.after = NULL
    chain.length -= 1


cdef inline void fetch_link(const Link* link) noexcept nogil:
    if link.before != NULL:
        zt_fetch(link.before)
    if link.after != NULL:
        zt_fetch(link.after)


cdef inline void fetch_whole(PyObject* flow) noexcept nogil:
    cdef int line
    for line in range(0, FLOW_SIZE, 64):
        zt_fetch(<const char*>flow + line)


cdef inline void fetch_facts(const Facts* facts) noexcept nogil:
    zt_fetch(facts)
    zt_fetch(<const char*>facts + 64)


cdef list listed(Chain* chain):
    cdef list found = []
    cdef Link* link = chain.first
    while link != NULL:
        found.append(<object>link.flow)
        link = link.after
    return found


class ByKey:
    """The flows of a table as a mapping from their keys, in the order in which they came."""

    __slots__ = ("_table",)

    def __init__(self, table):
        self._table = table

    def __len__(self):
        return len(self._table)

    def __iter__(self):
        return iter([flow.key for flow in self._table.all()])

    def __contains__(self, key):
        return self._table.exactly(key) is not None

    def __getitem__(self, key):
        flow = self._table.exactly(key)
        if flow is None:
            raise KeyError(key)
        return flow

    def __eq__(self, other):
        return dict(self.items()) == other

    def get(self, key, default=None):
        flow = self._table.exactly(key)
        return default if flow is None else flow

    def keys(self):
        return [flow.key for flow in self._table.all()]

    def values(self):
        return self._table.all()

    def items(self):
        return [(flow.key, flow) for flow in self._table.all()]


@cython.no_gc
cdef class FlowTable:
    """Flows by their keys and by their sessions. `zethane.service.flows.FlowTable` says what is what."""

    def __cinit__(self):
        self.slots = <Slot*>calloc(FIRST_SLOTS, sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError
        self.mask = FIRST_SLOTS - 1
        self.waiting = <Slot*>calloc(FIRST_SLOTS, sizeof(Slot))
        if self.waiting == NULL:
            raise MemoryError
        self.waiting_mask = FIRST_SLOTS - 1

    def __init__(self):
        self.places = {}
        self.idle = OrderedDict()
        self.followed = deque()
        self.unanswered = OrderedDict()

    def __dealloc__(self):
        cdef Link* link = self.everything.first
        cdef Link* after
        cdef int page
        while link != NULL:
            after = link.after
            (<LiveFlow>link.flow).table = NULL
            Py_DECREF(<object>link.flow)
            link = after
        link = self.awaited.first
        while link != NULL:
            after = link.after
            Py_DECREF(<object>link.flow)
            link = after
        for page in range(16384):
            free(self.pages[page])
        free(self.slots)
        free(self.waiting)
        free(self.counts)
        free(self.timed)
        free(self.queues)

    def __len__(self):
        return self.everything.length

    @property
    def by_key(self):
        return ByKey(self)

    def all(self):
        """Every flow, in the order in which they came."""
        return listed(&self.everything)

    # by key

    def groups(self):
        cdef Kinds kinds = Kinds()
        cdef Link* link = self.everything.first
        cdef Kind one
        cdef uint64_t at
        cdef dict found = {}
        while link != NULL:
            one = kind_of(<LiveFlow>link.flow)
            kinds.add(&one)
            link = link.after
        for at in range(kinds.mask + 1):
            if kinds.slots[at].used:
                one = kinds.slots[at]
                found[one.rule, (one.subject_class, one.object_class, one.proto, one.port)] = one.ends
        return found

    def of_groups(self, groups):
        cdef Kinds kinds = Kinds()
        cdef Link* link = self.everything.first
        cdef Kind one
        cdef list found = []
        for rule, (subject_class, object_class, proto, port) in groups:
            one.rule, one.subject_class, one.object_class = rule, subject_class, object_class
            one.proto, one.port, one.used, one.ends = proto, port, True, 0.0
            kinds.add(&one)
        while link != NULL:
            one = kind_of(<LiveFlow>link.flow)
            if kinds.place(&one).used:
                found.append(<object>link.flow)
            link = link.after
        return found

    cdef PyObject* lookup(self, const Key* key, uint64_t hash, int* direction) noexcept nogil:
        """The flow of a packet with this key, borrowed, and the packet's direction; NULL if there is none."""
        cdef uint64_t at = hash & self.mask
        cdef Slot* slot = self.slots + at
        cdef PyObject* back = NULL
        while slot.flow != NULL:
            if slot.hash == hash:
                if same(key, &(<LiveFlow>slot.flow).wire):
                    direction[0] = FORWARD
                    return slot.flow
                if reversed_of(key, &(<LiveFlow>slot.flow).wire):
                    back = slot.flow
            at = at + 1 & self.mask
            slot = self.slots + at
        direction[0] = RETURN
        return back

    # Memory that a look at a flow, or a change of it, will need: to be asked for early. It changes nothing.

    cdef void fetch_slot(self, uint64_t hash) noexcept nogil:
        zt_fetch(&self.slots[hash & self.mask])

    cdef void fetch_flow(self, uint64_t hash) noexcept nogil:
        cdef PyObject* flow = self.by_hash(hash)
        if flow != NULL:
            fetch_whole(flow)

    cdef void fetch_neighbours(self, uint64_t hash) noexcept nogil:
        """Of a flow that is nearer by now: those before and behind it in its chains."""
        cdef PyObject* flow = self.by_hash(hash)
        if flow != NULL:
            fetch_link(&(<LiveFlow>flow).everywhere)
            fetch_link(&(<LiveFlow>flow).of_subject)
            fetch_link(&(<LiveFlow>flow).of_object)
            fetch_link(&(<LiveFlow>flow).in_queue)
            self.fetch_chain((<LiveFlow>flow).subject)
            self.fetch_chain((<LiveFlow>flow).to)
            fetch_facts((<LiveFlow>flow).opener)
            fetch_facts((<LiveFlow>flow).opened)

    cdef void fetch_chain(self, uint32_t number) noexcept nogil:
        cdef Page* page = self.pages[number >> 10]
        if page != NULL:
            zt_fetch(&page.chains[number & 1023])

    cdef void fetch_last(self, uint32_t number) noexcept nogil:
        """The flow of a session that another one is entered behind."""
        cdef Page* page = self.pages[number >> 10]
        if page != NULL and page.chains[number & 1023].last != NULL:
            zt_fetch(page.chains[number & 1023].last)

    cdef inline PyObject* by_hash(self, uint64_t hash) noexcept nogil:
        """A flow whose key may be the one with this hash."""
        cdef uint64_t at = hash & self.mask
        while self.slots[at].flow != NULL:
            if self.slots[at].hash == hash:
                return self.slots[at].flow
            at = at + 1 & self.mask
        return NULL

    def exactly(self, key):
        """The flow that was opened with this key; None if there is none."""
        cdef Key wire
        cdef int direction = 0
        cdef PyObject* found
        if not packed(key, &wire):
            return None
        found = self.lookup(&wire, hash_of(&wire), &direction)
        return <object>found if found != NULL and direction == FORWARD else None

    def find(self, key):
        """The flow that a packet with this key belongs to, and its direction."""
        cdef Key wire
        cdef int direction = 0
        cdef PyObject* found
        if not packed(key, &wire):
            return None
        found = self.lookup(&wire, hash_of(&wire), &direction)
        return None if found == NULL else (<object>found, direction)

    cdef int grow(self) except -1:
        self.slots = larger(self.slots, self.mask)
        self.mask = self.mask * 2 + 1
        return 0

    # by session

    cdef Chain* chain(self, uint32_t number, bint make) except? NULL:
        """The flows of a session; NULL if it can have none."""
        cdef Page* page
        if number > 0xFFFFFF:
            if make:
                raise ValueError("session numbers have 24 bits")
            return NULL
        page = self.pages[number >> 10]
        if page == NULL:
            if not make:
                return NULL
            page = <Page*>calloc(1, sizeof(Page))
            if page == NULL:
                raise MemoryError
            self.pages[number >> 10] = page
        return &page.chains[number & 1023]

    cdef inline void join(self, uint32_t number, Link* link) noexcept:
        cdef Page* page = self.pages[number >> 10]
        cdef Chain* chain = &page.chains[number & 1023]
        page.used += chain.length == 0
        put_last(chain, link)

    cdef inline void part(self, uint32_t number, Link* link) noexcept:
        cdef Page* page = self.pages[number >> 10]
        cdef Chain* chain = &page.chains[number & 1023]
        take_out(chain, link)
        self.unused(number, chain.length == 0)

    cdef inline void unused(self, uint32_t number, bint so) noexcept:
        """A session may have nothing more of its own in its page."""
        cdef Page* page = self.pages[number >> 10]
        page.used -= so
        if page.used == 0:
            free(page)
            self.pages[number >> 10] = NULL

    cdef int32_t place_of(self, object dpid) except -1:
        """The place of a switch in the counts."""
        cdef object known = self.places.get(dpid)
        cdef int32_t place, room
        cdef int64_t* grown
        cdef Chain* queues
        if known is not None:
            return known
        place = len(self.places)
        if place >= self.room_for_places:
            room = max(64, self.room_for_places * 2)
            grown = <int64_t*>realloc(self.counts, room * sizeof(int64_t))
            if grown == NULL:
                raise MemoryError
            self.counts = grown
            grown = <int64_t*>realloc(self.timed, room * sizeof(int64_t))
            if grown == NULL:
                raise MemoryError
            self.timed = grown
            queues = <Chain*>realloc(self.queues, room * QUEUES * sizeof(Chain))
            if queues == NULL:
                raise MemoryError
            self.queues = queues
            self.room_for_places = room
        self.counts[place] = self.timed[place] = 0
        memset(self.queues + place * QUEUES, 0, QUEUES * sizeof(Chain))
        self.places[dpid] = place
        return place

    # changes

    cdef int enter(self, LiveFlow flow) except -1:
        """Enter a flow whose hash, and whose switches' places, are known. No other flow has its key."""
        if self.everything.length * 2ULL > self.mask:
            self.grow()
        self.chain(flow.subject, True)
        self.chain(flow.to, True)
        put_slot(self.slots, self.mask, flow.hash, <PyObject*>flow)
        Py_INCREF(flow)
        flow.table = <PyObject*>self
        put_last(&self.everything, &flow.everywhere)
        self.join(flow.subject, &flow.of_subject)
        if flow.to != flow.subject:
            self.join(flow.to, &flow.of_object)
        self.tally(flow, 1, 1 if flow.idle_timeout else 0)
        if not flow.idle_timeout:
            self.queue_up(flow, self.until_test(flow), -1, flow.installed)
        return 0

    cdef inline void tally(self, LiveFlow flow, int64_t flows, int64_t timed) noexcept:
        self.counts[flow.at_subject] += flows
        self.timed[flow.at_subject] += timed
        if flow.at_object != flow.at_subject:
            self.counts[flow.at_object] += flows
            self.timed[flow.at_object] += timed

    cdef void leave(self, LiveFlow flow) noexcept:
        """Take an entered flow out."""
        take_slot(self.slots, self.mask, flow.hash, <PyObject*>flow)
        self.out_of_queue(flow)
        take_out(&self.everything, &flow.everywhere)
        self.part(flow.subject, &flow.of_subject)
        if flow.to != flow.subject:
            self.part(flow.to, &flow.of_object)
        self.tally(flow, -1, -1 if flow.idle_timeout else 0)
        flow.table = NULL
        Py_DECREF(flow)

    def add(self, LiveFlow flow not None):
        """Enter a flow."""
        cdef int direction = 0
        cdef PyObject* known
        if flow.table != NULL:
            raise ValueError("the flow is entered already")
        known = self.lookup(&flow.wire, flow.hash, &direction)
        if known != NULL and direction == FORWARD:
            self.leave(<LiveFlow>known)
        flow.at_subject = self.place_of(flow.opened_by.attachment.dpid)
        flow.at_object = self.place_of(flow.opened_to.attachment.dpid)
        self.enter(flow)

    def remove(self, LiveFlow flow not None):
        """Forget a flow."""
        if flow.table == <PyObject*>self:
            self.leave(flow)

    def at(self, dpid):
        """How many flows have their rules on a switch, two entries each; also those that wait to be removed."""
        place = self.places.get(dpid)
        return 0 if place is None else self.counts[<int32_t>place]

    def at_each(self, list flows not None, dpids):
        """The flows of these that have, or had, their rules on each of these switches."""
        cdef dict found = {dpid: [] for dpid in dpids}
        cdef dict at = {self.place_of(dpid): there for dpid, there in found.items()}
        cdef LiveFlow flow
        cdef list there
        for flow in flows:
            if flow.at_subject < 0:
                flow.at_subject = self.place_of(flow.opened_by.attachment.dpid)
                flow.at_object = self.place_of(flow.opened_to.attachment.dpid)
            there = at.get(flow.at_subject)
            if there is not None:
                there.append(flow)
            if flow.at_object != flow.at_subject:
                there = at.get(flow.at_object)
                if there is not None:
                    there.append(flow)
        return found

    def wait_for_removal(self, dpid, int64_t flows):
        """So many flows more, or fewer, have their rules on a switch that are out of force."""
        cdef int32_t place = self.place_of(dpid)
        self.counts[place] += flows

    def timed_at(self, dpid):
        """How many of the flows on a switch have rules that can expire."""
        place = self.places.get(dpid)
        return 0 if place is None else self.timed[<int32_t>place]

    def set_idle_timeout(self, LiveFlow flow not None, int seconds):
        """A live flow's rules are to have this idle timeout from now on."""
        if flow.table == <PyObject*>self and (seconds != 0) != (flow.idle_timeout != 0):
            self.tally(flow, 0, 1 if seconds else -1)
        flow.idle_timeout = seconds

    # those without idle timeouts

    cdef int32_t until_test(self, LiveFlow flow) except -1:
        """Seconds until its next test, asked for once for each kind of flow."""
        cdef int32_t place = (min(max(flow.tests, -1), 3) + 1) * 256 + flow.wire.proto
        if self.until[place] == 0:
            from zethane.service import untimed

            self.until[place] = untimed.until_test(min(flow.tests, 3), flow.wire.proto)
        return self.until[place]

    cdef int queue_up(self, LiveFlow flow, int32_t seconds, int32_t queue, double now) except -1:
        """Enter a flow as the last of a queue, of that of so many seconds if it is -1."""
        if queue < 0:
            queue = 1
            # There are far fewer different times than queues; should they not do, some wait for others of the last.
            while queue < QUEUES - 1 and self.seconds[queue] not in (0, seconds):
                queue += 1
            self.seconds[queue] = max(self.seconds[queue], seconds)
        else:
            self.seconds[queue] = seconds
        self.out_of_queue(flow)
        flow.queue, flow.when = queue, now + seconds
        put_last(self.queues + flow.at_subject * QUEUES + queue, &flow.in_queue)
        return 0

    cdef void out_of_queue(self, LiveFlow flow) noexcept:
        if flow.queue >= 0:
            take_out(self.queues + flow.at_subject * QUEUES + flow.queue, &flow.in_queue)
            flow.queue = -1

    cdef object first_of(self, object dpid, int32_t queue, double now):
        """The first of a queue, if its moment has come. A clock that was put back delays nothing."""
        cdef object place = self.places.get(dpid)
        cdef Link* link = NULL if place is None else self.queues[<int32_t>place * QUEUES + queue].first
        if link == NULL or now < (<LiveFlow>link.flow).when <= now + self.seconds[queue]:
            return None
        return <object>link.flow

    def wait(self, LiveFlow flow not None, double now):
        """A live flow has no idle timeout from now on, until its next test."""
        if flow.table == <PyObject*>self:
            self.queue_up(flow, self.until_test(flow), -1, now)

    def put_to_the_test(self, LiveFlow flow not None, double now):
        """A live flow has an idle timeout from now on, for a few seconds."""
        from zethane.service import untimed

        if flow.table == <PyObject*>self:
            self.queue_up(flow, untimed.TRIAL, ON_TRIAL, now)

    def wait_no_more(self, LiveFlow flow not None):
        """A flow has an idle timeout for good."""
        if flow.table == <PyObject*>self:
            self.out_of_queue(flow)

    def due(self, dpid, double now):
        """A flow of a session at this switch that is to be tested now."""
        cdef int32_t queue = 1
        while queue < QUEUES and self.seconds[queue]:
            flow = self.first_of(dpid, queue, now)
            if flow is not None:
                return flow
            queue += 1
        return None

    def tested(self, dpid, double now):
        """One whose test is over."""
        return self.first_of(dpid, ON_TRIAL, now)

    def untimed_at(self, dpid):
        """How many of a switch wait for their next test."""
        cdef object place = self.places.get(dpid)
        cdef int32_t queue
        cdef int64_t found = 0
        for queue in range(1, QUEUES if place is not None else 0):
            found += self.queues[<int32_t>place * QUEUES + queue].length
        return found

    def on_trial(self, dpid):
        """How many have an idle timeout for a while."""
        place = self.places.get(dpid)
        return 0 if place is None else self.queues[<int32_t>place * QUEUES + ON_TRIAL].length

    def of_session(self, number):
        """The flows that a session opened or that were opened to it, in the order in which they came."""
        cdef Chain* chain = self.chain(number, False) if 0 <= number <= 0xFFFFFF else NULL
        return [] if chain == NULL else listed(chain)

    def between(self, a, b):
        """Whether two sessions have a live flow, in either direction."""
        cdef Chain* one = self.chain(a, False) if 0 <= a <= 0xFFFFFF else NULL
        cdef Chain* other = self.chain(b, False) if 0 <= b <= 0xFFFFFF else NULL
        cdef uint32_t wanted
        cdef Link* link
        cdef LiveFlow flow
        if one == NULL or other == NULL:
            return False
        if other.length < one.length:
            a, b, one = b, a, other
        wanted, link = b, one.first
        while link != NULL:
            flow = <LiveFlow>link.flow
            if (flow.to if flow.subject == <uint32_t>a else flow.subject) == wanted:
                return True
            link = link.after
        return False

    # flows that are out of force, or idle

    def close(self, LiveFlow flow not None, why, double now):
        """Take a flow out of force; its counters are still to come from the switch, unless it had no rules there."""
        self.put_out(flow, why, now)

    def close_each(self, list flows not None, why, double now):
        """The same for many flows; of whom, and of which address, they were, and how many of each."""
        cdef dict counted = {}
        cdef list found = []
        cdef list one
        cdef LiveFlow flow
        cdef Py_ssize_t at, count = len(flows)
        for at in range(count):
            if at + AHEAD < count:
                fetch_whole(<PyObject*>flows[at + AHEAD])
            if at + AHEAD // 2 < count:
                self.fetch_around(<LiveFlow>flows[at + AHEAD // 2])
            flow = flows[at]
            self.put_out(flow, why, now)
            one = counted.get(flow.subject)
            if one is None:
                counted[flow.subject] = one = [flow, 0]
            elif memcmp((<LiveFlow>one[0]).wire.src, flow.wire.src, 16) or (<LiveFlow>one[0]).wire.size != flow.wire.size:
                found.append(one)
                counted[flow.subject] = one = [flow, 0]
            one[1] += 1
        found.extend(counted.values())
        return [(flow.subject, flow.key.src, opened) for flow, opened in found]

    cdef void fetch_around(self, LiveFlow flow) noexcept:
        """What is changed beside a flow that is closed."""
        zt_fetch(&self.slots[flow.hash & self.mask])
        zt_fetch(&self.waiting[hash_of_place(flow.hash, flow.subject, flow.to) & self.waiting_mask])
        fetch_link(&flow.everywhere)
        fetch_link(&flow.of_subject)
        fetch_link(&flow.of_object)
        fetch_link(&flow.in_queue)

    cdef int put_out(self, LiveFlow flow, object why, double now) except -1:
        cdef uint64_t hash = hash_of_place(flow.hash, flow.subject, flow.to)
        cdef PyObject* known = self.find_waiting(&flow.wire, hash, flow.subject, flow.to, False)
        cdef LiveFlow before
        if known == NULL:
            if self.awaited.length * 2ULL > self.waiting_mask:
                self.waiting = larger(self.waiting, self.waiting_mask)
                self.waiting_mask = self.waiting_mask * 2 + 1
            self.chain(flow.subject, True)
            self.chain(flow.to, True)
            self.await_more(flow.subject)
            self.await_more(flow.to)
        else:
            before = <LiveFlow>known
            if before is not flow:
                flow.expect_reports_of(before)
                self.followed.append((before, before.why))
            self.stop_waiting(before)
        put_slot(self.waiting, self.waiting_mask, hash, <PyObject*>flow)
        Py_INCREF(flow)
        flow.why = why
        if flow.alive != 0 or flow.forward_replaced != 0 or flow.return_replaced != 0:
            flow.closed_at = now
            put_last(&self.awaited, &flow.in_wait)
        else:
            flow.closed_at = -INFINITY
            put_first(&self.awaited, &flow.in_wait)
        if flow.table == <PyObject*>self:
            self.leave(flow)
        return 0

    cdef PyObject* find_waiting(
        self, const Key* key, uint64_t hash, uint32_t subject, uint32_t to, bint back
    ) noexcept nogil:
        """The flow out of force with this key, or the reverse of it, between these sessions; NULL if there is none."""
        cdef uint64_t at = hash & self.waiting_mask
        cdef PyObject* found = self.waiting[at].flow
        while found != NULL:
            if (
                self.waiting[at].hash == hash
                and (<LiveFlow>found).subject == subject
                and (<LiveFlow>found).to == to
                and (reversed_of(key, &(<LiveFlow>found).wire) if back else same(key, &(<LiveFlow>found).wire))
            ):
                return found
            at = at + 1 & self.waiting_mask
            found = self.waiting[at].flow
        return NULL

    cdef inline void await_more(self, uint32_t number) noexcept:
        """One more flow of a session, which has a page, waits for its counters."""
        cdef Page* page = self.pages[number >> 10]
        page.used += page.awaited[number & 1023] == 0
        page.awaited[number & 1023] += 1

    cdef inline void await_less(self, uint32_t number) noexcept:
        cdef Page* page = self.pages[number >> 10]
        page.awaited[number & 1023] -= 1
        self.unused(number, page.awaited[number & 1023] == 0)

    cdef void stop_waiting(self, LiveFlow flow) noexcept:
        """A flow waits no more; whoever calls this has a reference to it."""
        take_slot(
            self.waiting, self.waiting_mask, hash_of_place(flow.hash, flow.subject, flow.to), <PyObject*>flow
        )
        take_out(&self.awaited, &flow.in_wait)
        flow.why = None
        Py_DECREF(flow)

    cdef object no_more_of(self, PyObject* waiting):
        """Forget a flow that waits; itself and why it ended."""
        cdef LiveFlow flow = <LiveFlow>waiting
        cdef object why = flow.why
        self.stop_waiting(flow)
        self.await_less(flow.subject)
        self.await_less(flow.to)
        return flow, why

    def closing(self, key, uint32_t subject, uint32_t obj):
        """A flow between these taken out of force, by the key of one of its directions."""
        cdef Key wire
        cdef PyObject* found
        cdef uint64_t hash
        cdef int direction
        if self.awaited.length == 0 or not packed(key, &wire):
            return None
        hash = hash_of_place(hash_of(&wire), subject, obj)
        for direction in (FORWARD, RETURN):
            found = self.find_waiting(&wire, hash, subject, obj, direction == RETURN)
            if found != NULL:
                return <object>found, direction, (<LiveFlow>found).why
        return None

    def closed(self, LiveFlow flow not None):
        """All that was to come has come."""
        cdef PyObject* found = self.find_waiting(
            &flow.wire, hash_of_place(flow.hash, flow.subject, flow.to), flow.subject, flow.to, False
        )
        if found != NULL:
            self.no_more_of(found)

    cdef bint awaits(self, uint32_t number) noexcept nogil:
        cdef Page* page = self.pages[number >> 10] if number <= 0xFFFFFF else NULL
        return page != NULL and page.awaited[number & 1023] != 0

    def is_closing(self, number):
        """Whether counters of a session's flows are still to come."""
        return 0 <= number <= 0xFFFFFF and self.awaits(number)

    def overdue(self, double before):
        """Take out the flows that were closed before this time and that no switch has reported on."""
        # Here: that module imports this one.
        from zethane.service import flows as bounds

        while self.followed:
            yield self.followed.popleft()
        while self.awaited.first != NULL:
            if (<LiveFlow>self.awaited.first.flow).closed_at >= before and self.awaited.length <= bounds.MAX_CLOSING:
                return
            yield self.no_more_of(self.awaited.first.flow)

    def remember(self, LiveFlow flow not None):
        """Keep a flow in mind whose rules are gone, so that its next packet lets it in again."""
        cdef object key = flow.key
        cdef LiveFlow forgotten
        from zethane.service import flows as bounds

        if key not in self.idle:
            self.idle_others += flow.wire.proto != TCP
        self.idle[key] = flow
        self.idle.move_to_end(key)
        if len(self.idle) > bounds.MAX_REMEMBERED:
            forgotten = self.idle.popitem(last=False)[1]
            self.idle_others -= forgotten.wire.proto != TCP

    def expect_answer(self, LiveFlow flow not None, double now):
        """Keep a flow without a connection in mind for a while, in which an answer to it may come."""
        cdef object key = flow.key
        from zethane.service import flows as bounds

        self.idle_others += key not in self.unanswered
        self.unanswered[key] = flow, now + bounds.ANSWERED_WITHIN
        self.unanswered.move_to_end(key)
        if len(self.unanswered) > bounds.MAX_UNANSWERED:
            self.unanswered.popitem(last=False)
            self.idle_others -= 1

    cdef bint remembers(self, const Key* wire) except -1:
        """Whether a packet with this key may belong to a flow that is remembered."""
        cdef object key = unpacked(wire), back
        if key in self.idle or key in self.unanswered:
            return True
        back = key.reverse()
        return back in self.idle or back in self.unanswered

    def recall(self, key, double now):
        """A remembered flow by the key of a packet, and the packet's direction; it is forgotten with this."""
        for wanted, direction in ((key, FORWARD), (key.reverse(), RETURN)):
            flow = self.idle.pop(wanted, None)
            if flow is not None:
                self.idle_others -= (<LiveFlow>flow).wire.proto != TCP
                return flow, direction
            flow, until = self.unanswered.pop(wanted, (None, 0.0))
            if flow is not None:
                from zethane.service import flows as bounds

                self.idle_others -= 1
                if now < until <= now + bounds.ANSWERED_WITHIN:
                    return flow, direction
        return None
