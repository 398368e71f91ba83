# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled half of the hot path."""

import json
import math
from ipaddress import ip_address
from json.encoder import encode_basestring
from os import urandom

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.math cimport modf, rint
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset, strlen

from zethane.service.deferral_table cimport Deferral
from zethane.service.flow_table cimport FlowTable, Key, LiveFlow, hash_of
from zethane.service.watched cimport Facts, Watched, drop, new_facts

from zethane.adapters.openflow.pace import CAUGHT_UP, MARK_EVERY
from zethane.audit.record import party as as_party
from zethane.audit.record import rfc3339
from zethane.identity.session import MAX_SESSION
from zethane.net.flowkey import FlowKey
from zethane.pipeline.fields import CONNECTION_MASK, MAX_RULE, Reason, cookie
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import FIN_IDLE, Verified, idle_timeout
from zethane.service.sessions import Live
from zethane.service.switch import PacketIn
from zethane.service.untimed import UNANSWERED
from zethane.service.verification import REINSTALL_AFTER, REOPENED_AFTER

cdef extern from *:
    """
    static inline void zt_fetch(const void *at, long size) {
        const char *line = (const char *)((unsigned long)at & ~63UL), *end = (const char *)at + size;
        for (; line < end; line += 64) __builtin_prefetch(line, 1);
    }
    """
    void zt_fetch(const void* at, Py_ssize_t size) noexcept nogil

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT, MSG_NOSIGNAL
    Py_ssize_t write_to "send"(int fd, const void* data, size_t size, int flags)

cdef double INFINITY = math.inf
cdef int64_t MARK = MARK_EVERY, AHEAD_UNSEEN = CAUGHT_UP
cdef char COLON = 58, QUOTE = 34, DOT = 46
cdef char HEX_PAIRS[512]
cdef char OCTETS[1024]  # each number as text, and how long that is
cdef Py_ssize_t KEPT_ROOM = 1 << 20


cdef class Output:
    """Messages that are collected until they are written with one call. `zethane.adapters.openflow.output` is alike."""

    def __cinit__(self):
        self.xid = 1
        self.room = 1 << 14
        self.size = self.sent = 0
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

    def take_sent(self):
        """How many bytes were sent past `take` since this was asked last."""
        cdef Py_ssize_t sent = self.sent
        self.sent = 0
        return sent

    cdef int send(self, int fd) noexcept:
        """Send as much as the connection takes at once; the rest is there still, and an error is left for `take`."""
        cdef Py_ssize_t done = write_to(fd, self.data, <size_t>self.size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if done > 0:
            self.sent += done
            self.size -= done
            memmove(self.data, self.data + done, <size_t>self.size)
        return 0


cdef class FastPath


cdef class Reading:
    """What a connection's bytes come to, and what is needed of the connection. `zethane.adapters.openflow.reading` is
    alike, and does nothing before the rest of `Channel`."""

    cdef public object dpid, _accepted, _alive, _closed_for, _fast, _gates, _intake, _is_behind, _loop, _out, _pace
    cdef public object _plain, _received, _transport, _watches, _writable

    def data_received(self, bytes data not None):
        """Take what has come: first what is plain, as nothing that is done in Python is of use to that."""
        cdef object intake = self._intake, limits
        cdef Py_ssize_t at = 0
        if type(self._fast) is FastPath:
            (<FastPath>self._fast).begin_read()
        if self._received or self._closed_for is not None or type(self._fast) is not FastPath:
            intake.begin()
            self._take(data, 0, looked=False)
            return
        if not intake._held:  # as `Intake.begin` does
            limits = intake._limits
            intake._left = limits.packets
            intake._until = intake._clock() + limits.seconds
        try:
            at = (<FastPath>self._fast).take_plain(self, data, 0)
        except Exception as error:
            self._plain_failed(error)
            at = PyBytes_GET_SIZE(data)
        if at == PyBytes_GET_SIZE(data) and self.is_over(intake):
            self._alive.heard = self._loop.time()
        else:
            self._take(data, at, looked=True)

    cdef bint is_over(self, intake) except -1:
        """Whether this read is over, with nothing that waits, is to be written, or has to be looked at. With one flow
        at a time it is, and the core is for the switch, that may wait for it."""
        cdef Output out = self._out
        cdef object pace = self._pace
        cdef int64_t written, ahead
        if self._closed_for is not None or out.size or not self._writable or self._is_behind:
            return False
        if intake._next is not None or intake._resting or intake._taken or intake._over or intake._queue._length:
            return False
        if out.sent:
            written = <int64_t>pace._written + out.sent
            ahead = written - <int64_t>pace._processed
            if ahead > AHEAD_UNSEEN or (pace._mark is None and ahead >= MARK):
                return False
            pace._written = written
            out.sent = 0
        intake._left = 0
        return True


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


# ---- what is known of the parts, held against the state before it is used


cdef class Switch:
    """A switch as a run finds it. `checked` is the run that has looked; `fits` says that nothing keeps it from being
    written to at once: no bundle before, nothing that is ending. `watches` are to be told, where its tables are read."""

    cdef object point, watches
    cdef Reading channel
    cdef Output out
    cdef bytes where
    cdef int32_t place
    cdef uint64_t dpid, checked
    cdef bint fits


cdef class Decision:
    """A verdict, for as long as the policy has it."""

    cdef object verdict, asked
    cdef uint64_t key, checked
    cdef uint32_t rule
    cdef bint fits  # allowed, for good, and whoever asks
    cdef bytes rule_text


cdef struct Template:
    uint8_t data[208]
    int size, src, dst, first, second
    bint narrow  # the last two fields have a byte each: type and code


cdef struct Read:
    # A frame.
    Key key
    uint8_t flags


cdef struct Ahead:
    # A message that is looked at before it is its turn, and what was read of it.
    Py_ssize_t at, size
    bint good
    Up up
    Read read
    uint32_t classes[2]
    uint64_t hash


cdef struct PortTaken:
    # The packets of a port that were taken from a read.
    uint64_t read
    uint32_t port, packets


cdef enum:
    LATE = 2048
    AT_ONCE = 16  # messages: as much as the first cache has room for
    PORT_BITS = 12
    PORT_PLACES = 1 << PORT_BITS
    PORTS = 3072  # of a read, at the most: a switch has 1024 that count, and a turn takes 2048 packets

cdef int TCP = 6, UDP = 17, SCTP = 132, ICMP = 1, ICMPV6 = 58
cdef int FIN = 1, SYN = 2, RST = 4, ACK = 16
cdef int FORWARD = 1, RETURN = 2
cdef int PACKET_IN = 10, FLOW_REMOVED = 11
cdef Py_ssize_t FEW = 1024  # sessions whose memory is in the caches by itself
cdef int QUICK = 32  # of such packets count as one
cdef int CLOCK_EVERY = 64, WAITING_CLOCK_EVERY = 16
cdef uint32_t SHARE = 32  # packets of one port that are taken from a read
cdef uint32_t PROBE = Reason.LLDP
cdef uint32_t MAX_RULE_NUMBER = MAX_RULE
cdef uint32_t MAX_NUMBER = MAX_SESSION
cdef int FIN_SECONDS = FIN_IDLE
cdef int FLOW_TABLE = Table.FLOW
cdef int COMMITTED_TABLE = Table.COMMITTED
cdef uint64_t CONNECTION_BITS = CONNECTION_MASK
cdef double REINSTALL = REINSTALL_AFTER
cdef double REOPENED = REOPENED_AFTER
cdef int SILENT = UNANSWERED
cdef int DECISIONS = 4096
cdef int LINE = 1024  # bytes of a record beside its texts, at the most


cdef bint read_frame(const uint8_t* frame, Py_ssize_t size, Read* read) noexcept nogil:
    """Read a frame as `net.flowkey.parse_frame` does; False for whatever is not plain: that one is asked then."""
    cdef Py_ssize_t at, end
    cdef uint8_t proto
    if size < 34:
        return False
    memset(read, 0, sizeof(Read))
    if frame[12] == 0x08 and frame[13] == 0x00:
        proto = frame[23]
        if frame[14] != 0x45 or be16(frame + 16) < 20 or be16(frame + 20) & 0x3FFF or proto == ICMPV6:
            return False
        at, end = 34, 14 + be16(frame + 16)
        memcpy(read.key.src, frame + 26, 4)
        memcpy(read.key.dst, frame + 30, 4)
        read.key.size = 4
    elif frame[12] == 0x86 and frame[13] == 0xDD:
        if size < 54 or frame[14] >> 4 != 6:
            return False
        proto = frame[20]
        if proto == ICMP:
            return False
        at, end = 54, 54 + be16(frame + 18)
        memcpy(read.key.src, frame + 22, 16)
        memcpy(read.key.dst, frame + 38, 16)
        read.key.size = 16
    else:
        return False
    if end > size:
        end = size
    read.key.proto = proto
    if proto == TCP:
        if end < at + 20 or frame[at + 12] >> 4 < 5 or end < at + (frame[at + 12] >> 4) * 4:
            return False
        read.flags = frame[at + 13]
    elif proto == UDP:
        if end < at + 8:
            return False
    elif proto == SCTP:
        if end < at + 12:
            return False
    elif proto == ICMP or proto == ICMPV6:
        if end < at + 8 or frame[at + 1] != 0:
            return False
        if frame[at] == (8 if proto == ICMP else 128):
            read.key.sport = 8
        elif frame[at] == (0 if proto == ICMP else 129):
            read.key.dport = 8
        else:
            return False
        return True
    else:
        return False
    read.key.sport, read.key.dport = be16(frame + at), be16(frame + at + 2)
    return True


cdef inline void put16(uint8_t* at, uint32_t value) noexcept nogil:
    at[0], at[1] = <uint8_t>(value >> 8), <uint8_t>value


cdef inline void put32(uint8_t* at, uint32_t value) noexcept nogil:
    put16(at, value >> 16)
    put16(at + 2, value & 0xFFFF)


cdef inline void put64(uint8_t* at, uint64_t value) noexcept nogil:
    put32(at, <uint32_t>(value >> 32))
    put32(at + 4, <uint32_t>value)


cdef inline char* text_at(char* at, const char* text, Py_ssize_t size) noexcept nogil:
    memcpy(at, text, size)
    return at + size


cdef inline char* words_at(char* at, const char* words) noexcept nogil:
    cdef size_t size = strlen(words)  # of a literal: the compiler knows it
    memcpy(at, words, size)
    return at + size


cdef void write_tables():
    cdef int number
    cdef bytes text
    for number in range(256):
        text = b"%02x" % number
        memcpy(HEX_PAIRS + 2 * number, PyBytes_AS_STRING(text), 2)
        text = (b"%d" % number).ljust(3, b"0")
        memcpy(OCTETS + 4 * number, PyBytes_AS_STRING(text), 3)
        OCTETS[4 * number + 3] = len(b"%d" % number)


write_tables()


cdef inline char* number_at(char* at, uint64_t value) noexcept nogil:
    cdef char digits[20]
    cdef int count = 0
    while True:
        digits[count] = <char>(48 + value % 10)
        count += 1
        value //= 10
        if value == 0:
            break
    while count:
        count -= 1
        at[0] = digits[count]
        at += 1
    return at


cdef object as_json(value):
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


cdef bytes who(session):
    """A session as a record has it: `audit.record.party`."""
    cdef object principal = session.principal, kind = principal.kind
    if kind == "network" or kind == "server":
        return as_json(as_party(session))
    text = (
        f'{{"session": {session.number}, "principal": {encode_basestring(kind + ":" + principal.name)}, '
        f'"segment": {encode_basestring(session.segment)}}}'
    )
    return text.encode("utf-8", "backslashreplace")


cdef char* place_at(char* at, const Facts* party) noexcept:
    """Where a session is: `audit.record.place`."""
    cdef bytes switch = (<Switch>party.switch).where
    cdef int shift
    at = text_at(at, PyBytes_AS_STRING(switch), PyBytes_GET_SIZE(switch))
    at = words_at(at, b'"port": ')
    at = number_at(at, party.port)
    at = words_at(at, b', "mac": "')
    for shift in range(40, -8, -8):
        memcpy(at, HEX_PAIRS + 2 * (party.mac >> shift & 0xFF), 2)
        at[2] = COLON
        at += 3
    at -= 1
    at[0] = QUOTE
    return at + 1


cdef char* group_at(char* at, uint32_t group) noexcept:
    cdef int shift = 12
    while shift and not group >> shift:
        shift -= 4
    while shift >= 0:
        at[0] = HEX_PAIRS[2 * (group >> shift & 15) + 1]
        at += 1
        shift -= 4
    return at


cdef char* ipv6_at(char* at, const uint8_t* address) noexcept:
    """As `ipaddress` writes it: the longest run of zeros, the first of several, is left out (RFC 5952 section 4)."""
    cdef int place, run = 0, longest = 1, begins = -1
    for place in range(8):
        run = run + 1 if be16(address + 2 * place) == 0 else 0
        if run > longest:
            longest, begins = run, place + 1 - run
    place = 0
    while place < 8:
        if place == begins:
            at = words_at(at, b"::")
            place += longest
            continue
        at = group_at(at, be16(address + 2 * place))
        place += 1
        if place < 8 and place != begins:
            at[0] = COLON
            at += 1
    return at


cdef char* address_at(char* at, const uint8_t* address, int size) except NULL:
    """An address as JSON, of at most 48 bytes."""
    cdef bytes text
    cdef int place
    if size == 4:
        at[0] = QUOTE
        at += 1
        for place in range(4):
            memcpy(at, &OCTETS[4 * address[place]], 3)
            at += OCTETS[4 * address[place] + 3]
            at[0] = DOT if place < 3 else QUOTE
            at += 1
        return at
    if be32(address) == 0 and be32(address + 4) == 0 and be16(address + 8) == 0:
        text = as_json(str(ip_address(PyBytes_FromStringAndSize(<const char*>address, size))))  # it may have dots
        return text_at(at, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    at[0] = QUOTE
    at = ipv6_at(at + 1, address)
    at[0] = QUOTE
    return at + 1


def address_of(bytes address not None):
    """An address of 4 or 16 bytes as it is in a record. To be held against `ipaddress`."""
    cdef char text[64]
    cdef Py_ssize_t size = PyBytes_GET_SIZE(address)
    if size != 4 and size != 16:
        raise ValueError("an address has 4 or 16 bytes")
    return PyBytes_FromStringAndSize(text, address_at(text, <const uint8_t*>PyBytes_AS_STRING(address), size) - text)


cdef int fill(Facts* facts, tuple addresses) except -1:
    """Take over the addresses, each of 4 or 16 bytes and eight at the most."""
    cdef Py_ssize_t size = sum(map(len, addresses))
    cdef uint8_t* to
    cdef bytes address
    if size > <Py_ssize_t>sizeof(facts.own):
        facts.packed = <uint8_t*>malloc(size)
        if facts.packed == NULL:
            facts.packed = facts.own
            raise MemoryError
    to = facts.packed
    for address in addresses:
        memcpy(to, PyBytes_AS_STRING(address), PyBytes_GET_SIZE(address))
        to += PyBytes_GET_SIZE(address)
        facts.sizes[facts.addresses] = PyBytes_GET_SIZE(address)
        facts.addresses += 1
    return 0


cdef bint has_address(const Facts* party, const uint8_t* address, int size) noexcept:
    """Whether an address is one of a session's."""
    cdef int at
    cdef const uint8_t* one = party.packed
    for at in range(party.addresses):
        if party.sizes[at] == size and memcmp(one, address, size) == 0:
            return True
        one += party.sizes[at]
    return False


cdef inline char* who_at(char* at, const Facts* party) noexcept:
    if party.numbered:
        at = words_at(at, b'{"session": ')
        at = number_at(at, party.number)
    return text_at(at, PyBytes_AS_STRING(<bytes>party.who), PyBytes_GET_SIZE(<bytes>party.who))


cdef inline Py_ssize_t text_of(const Facts* party) noexcept:
    """Bytes of the texts of other lengths in a record."""
    return PyBytes_GET_SIZE(<bytes>party.who) + PyBytes_GET_SIZE((<Switch>party.switch).where)


cdef inline char* parties_at(char* at, const Facts* subject, const Facts* to) noexcept:
    at = who_at(at, subject)
    at = words_at(at, b', "object": ')
    at = who_at(at, to)
    at = words_at(at, b", ")
    at = place_at(at, subject)
    return words_at(at, b', "source": ')


cdef char* service_at(char* at, const Key* key) noexcept:
    cdef const char* name = b"tcp"
    if key.proto == ICMP or key.proto == ICMPV6:
        return words_at(
            at, b', "protocol": "icmp", "source_port": null, "destination_port": null, "service": "icmp"'
        )
    if key.proto == UDP:
        name = b"udp"
    elif key.proto == SCTP:
        name = b"sctp"
    at = words_at(at, b', "protocol": "')
    at = words_at(at, name)
    at = words_at(at, b'", "source_port": ')
    at = number_at(at, key.sport)
    at = words_at(at, b', "destination_port": ')
    at = number_at(at, key.dport)
    at = words_at(at, b', "service": "')
    at = words_at(at, name)
    at = words_at(at, b"/")
    at = number_at(at, key.dport)
    return words_at(at, b'"')


cdef int write_rule(
    const Template* rule, Output out, const Key* key, bint back, uint32_t subject, uint32_t to, uint32_t subject_class,
    uint32_t object_class, uint32_t number, bint notify, int idle,
) except -1:  # fmt: skip
    """The flow-mod of one direction, as `hotpath.write_verified` writes it."""
    cdef uint8_t* at = <uint8_t*>out.reserve(rule.size)
    cdef uint64_t sender = to if back else subject, receiver = subject if back else to
    cdef uint32_t first = key.dport if back else key.sport, second = key.sport if back else key.dport
    memcpy(at, rule.data, rule.size)
    put32(at + 4, out.number())
    put64(at + 8, <uint64_t>subject << 40 | <uint64_t>to << 16 | number)
    put16(at + 26, idle)
    put16(at + 44, 1 if notify else 0)
    put64(at + 56, sender << 40 | receiver << 16)
    put32(at + 76, object_class if back else subject_class)
    put32(at + 84, subject_class if back else object_class)
    memcpy(at + (rule.dst if back else rule.src), key.src, key.size)
    memcpy(at + (rule.src if back else rule.dst), key.dst, key.size)
    if not rule.narrow:
        put16(at + rule.first, first)
        put16(at + rule.second, second)
    elif key.proto == ICMP:
        at[rule.first] = 8 if first else 0
    else:
        at[rule.first] = 128 if first else 129
    return 0


cdef int write_pair(const Template* rule, Output out, LiveFlow flow, bint notify) except -1:
    """Both directions of a flow, the way back first."""
    cdef int back
    for back in range(1, -1, -1):
        write_rule(
            rule, out, &flow.wire, back, flow.subject, flow.to, flow.subject_class, flow.object_class, flow.rule,
            notify, flow.idle_timeout,
        )  # fmt: skip
    return 0


cdef int tell(Switch switch, LiveFlow flow) except -1:
    """Those who read a switch's tables are told of both directions of a flow that is written."""
    key = flow.key
    switch.watches.flow(key)
    switch.watches.flow(key.reverse())
    return 0


cdef bint read_removed(const uint8_t* message, Py_ssize_t size, Key* key, uint32_t* classes) noexcept nogil:
    """Read the match of a flow-removed that has all that a per-flow rule has, once, and nothing else."""
    cdef Py_ssize_t length = be16(message + 50), at = 52, stop = 48 + length
    cdef uint32_t header, seen = 0, one
    cdef uint8_t proto_of_ports = 0
    cdef int of_type = 0
    memset(key, 0, sizeof(Key))
    if be16(message + 48) != 1 or length < 4 or 48 + (length + 7) // 8 * 8 > size:
        return False
    while at < stop:
        if stop - at < 4:
            return False
        header = be32(message + at)
        at += 4
        if stop - at < <Py_ssize_t>(header & 0xFF):
            return False
        if header == 0x80000510U:  # metadata, with a mask: of no use here
            one = 1
        elif header == 0x00010004U or header == 0x00010204U:
            one = 2 if header == 0x00010004U else 4
            classes[0 if one == 2 else 1] = be32(message + at)
        elif header == 0x80000A02U:
            one = 8
        elif header == 0x80001401U:
            one = 16
            key.proto = message[at]
        elif header == 0x80001604U or header == 0x80003410U:
            one = 32
            if key.size and key.size != (header & 0xFF):
                return False
            key.size = header & 0xFF
            memcpy(key.src, message + at, key.size)
        elif header == 0x80001804U or header == 0x80003610U:
            one = 64
            if key.size and key.size != (header & 0xFF):
                return False
            key.size = header & 0xFF
            memcpy(key.dst, message + at, key.size)
        elif header == 0x80001A02U or header == 0x80001E02U or header == 0x80002202U:
            one = 128
            proto_of_ports = TCP if header == 0x80001A02U else UDP if header == 0x80001E02U else SCTP
            key.sport = be16(message + at)
        elif header == 0x80001C02U or header == 0x80002002U or header == 0x80002402U:
            one = 256
            if proto_of_ports != (TCP if header == 0x80001C02U else UDP if header == 0x80002002U else SCTP):
                return False
            key.dport = be16(message + at)
        elif header == 0x80002601U or header == 0x80003A01U:
            one = 128
            proto_of_ports = ICMP if header == 0x80002601U else ICMPV6
            of_type = message[at]
        elif header == 0x80002801U or header == 0x80003C01U:
            one = 256
            if proto_of_ports != (ICMP if header == 0x80002801U else ICMPV6):
                return False
        else:
            return False
        if seen & one:
            return False
        seen |= one
        at += <Py_ssize_t>(header & 0xFF)
    if seen != 511 or proto_of_ports != key.proto:
        return False
    if key.proto == ICMP or key.proto == ICMPV6:
        if of_type == (8 if key.proto == ICMP else 128):
            key.sport = 8
        else:
            key.dport = 8
    return True


cdef class FastPath:
    """The plain cases of the hot path, complete: packets of new flows, and of flows that are known, and reports of
    entries that are gone. It says of everything else that it is not plain, and has changed nothing then.

    What it does is what `service.verification`, `service.accounting` and `app.journal` do, byte for byte. What it
    keeps is used only where the state still is what it was made from: the same session, policy and limits.
    """

    cdef object state, journal, clock, channel_type, live_type, points, rule_texts
    cdef dict switches, by_number
    cdef Facts** pages[16384]
    cdef Py_ssize_t parties
    cdef dict whos
    cdef uint64_t runs
    # of a run
    cdef FlowTable table
    cdef Deferral deferral
    cdef object policy, verdicts, limits, rule_ids
    cdef Switch own
    cdef int64_t per_session, per_switch, timed_per_switch, wait_from, wait_share
    cdef list decisions
    cdef uint8_t* denied
    # records
    cdef char* lines
    cdef Py_ssize_t size, room, count
    cdef bint is_last  # of a read
    cdef int64_t second, millisecond
    cdef char moment[24]
    # counters
    cdef int64_t packet_ins, allowed, let_in, not_sent_back, flows_ended, flows_deferred
    cdef Template templates[2][5]
    cdef int idle_seconds[256]
    cdef readonly int64_t taken
    cdef PortTaken taken_of[PORT_PLACES]
    cdef uint64_t reads, spread
    cdef int ports  # of the read, that something was taken of
    cdef Py_ssize_t late_at[2048]  # of what is being read: packets that have to wait
    cdef int late

    def __cinit__(self):
        self.room = 1 << 16
        self.lines = <char*>malloc(self.room)
        self.denied = <uint8_t*>calloc(1 << 16, 1)
        self.spread = int.from_bytes(urandom(8), "big") | 1
        if self.lines == NULL or self.denied == NULL:
            raise MemoryError

    def __init__(self, state, journal, channel_type):
        self.state, self.journal, self.clock, self.channel_type = state, journal, state.clock, channel_type
        if not issubclass(Live, Watched):
            raise TypeError("sessions are not compiled, and this is")
        self.live_type = Live
        self.switches = {}
        self.by_number = {}
        self.rule_texts = {}
        self.whos = {}
        self.decisions = [None] * DECISIONS
        self.second = self.millisecond = -1
        self.points = state.fabric.points
        for dpid, point in self.points.items():
            self._add_switch(dpid, point)
        for proto in range(256):
            self.idle_seconds[proto] = idle_timeout(proto)
        self._make_templates()

    def __dealloc__(self):
        self.forget()
        free(self.lines)
        free(self.denied)

    def _add_switch(self, dpid, point):
        cdef Switch switch = Switch.__new__(Switch)
        switch.point, switch.dpid = point, dpid
        switch.where = b'"switch": ' + as_json(point.switch.name) + b", "
        self.switches[dpid] = self.by_number[point.number] = switch

    def _make_templates(self):
        """What is the same in all rules of a kind, from who writes the others; and a trial of each."""
        cdef Template* one
        cdef Read read
        cdef Output trial = Output()
        cdef int family, kind, size
        cdef bytes made
        from zethane.adapters.openflow.hotpath import write_verified  # that module imports this one

        for family, size in ((0, 4), (1, 16)):
            for kind, proto in enumerate((TCP, UDP, SCTP, ICMPV6 if family else ICMP)):
                key = FlowKey(bytes(size), bytes(size), proto, 0, 0)
                made = write_verified(Verified(key, 0, 0, 0, 0, 0), 0, notify=False, lease=0, idle=0)
                one = &self.templates[family][kind]
                one.size = len(made)
                if one.size > 208:
                    raise ValueError("a rule is too long")
                memcpy(one.data, PyBytes_AS_STRING(made), one.size)
                one.narrow = proto in (ICMP, ICMPV6)
                one.src, one.dst = 103, 107 + size
                one.first = 111 + 2 * size
                one.second = one.first + (5 if one.narrow else 6)
                memset(&read, 0, sizeof(Read))
                read.key.proto, read.key.size = proto, size
                memset(read.key.src, 1, size)
                memset(read.key.dst, 2, size)
                read.key.sport, read.key.dport = (8, 0) if one.narrow else (0x1234, 0x5678)
                for back in (False, True):
                    trial.xid = 77
                    write_rule(self.rule_of(&read.key), trial, &read.key, back, 5, 6, 7, 8, 9, True, 10)
                    key = FlowKey(b"\1" * size, b"\2" * size, proto, read.key.sport, read.key.dport)
                    why = cookie(5, 6, 9)
                    meant = Verified(key.reverse(), 6, 5, 8, 7, why) if back else Verified(key, 5, 6, 7, 8, why)
                    if trial.take() != write_verified(meant, 77, notify=True, lease=0, idle=10):
                        raise ValueError("a rule is not written as it is meant")

    cdef Template* rule_of(self, const Key* key) noexcept:
        cdef int kind = 0 if key.proto == TCP else 1 if key.proto == UDP else 2 if key.proto == SCTP else 3
        return &self.templates[0 if key.size == 4 else 1][kind]

    # runs

    def run(self, Reading channel not None, bytes data not None, Py_ssize_t at):
        """Take the messages from `at` on that are plain, one after the other; where the first is that is not.

        Packets are taken for as long as their turn lasts.
        """
        return self.take_plain(channel, data, at)

    cdef Py_ssize_t take_plain(self, Reading channel, bytes data, Py_ssize_t at) except -1:
        cdef const uint8_t* message = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t end = PyBytes_GET_SIZE(data)
        cdef Ahead ahead[AT_ONCE]
        cdef Ahead* one
        cdef int count, place
        cdef int64_t left, quick = 0
        cdef double until
        cdef object intake, clock, over, queue
        cdef bint crowded
        if end - at < 8 or message[at] != 4 or (message[at + 1] != PACKET_IN and message[at + 1] != FLOW_REMOVED):
            return at
        if not self.begin(channel):
            return at
        intake = channel._intake
        clock, until = intake._clock, intake._until
        over, queue = intake._over, intake._queue
        crowded = queue._length > 0
        left = <int64_t>intake._left * QUICK
        self.late = 0  # whatever has gone wrong before: those were of another read
        try:
            while True:
                count = self.look_ahead(message, at, end, ahead)
                if count == 0:
                    break
                for place in range(count):
                    one = &ahead[place]
                    self.is_last = end - at - one.size < 8
                    if message[at + 1] == PACKET_IN:
                        if not one.good or one.up.cookie & 0xFFFF == PROBE:
                            return at
                        if quick >= left or (over and one.up.port in over) or (crowded and one.up.port in queue):
                            if self.late == LATE:
                                self.queue_late(channel, intake, data)
                                crowded = True
                            self.late_at[self.late] = at
                            self.late += 1
                            at += one.size
                            continue
                        if not self.packet_read(one, message + at):
                            return at
                        if self.has_share(one.up.port):
                            over.add(one.up.port)
                        quick += 1
                        if quick % CLOCK_EVERY == 0 and <double>clock() >= until:
                            left = quick
                    elif not one.good or not self.flow_removed(one, message + at):
                        return at
                    elif self.own.watches is not None:
                        self.own.watches.flow(key_of(&one.read.key))
                    at += one.size
        except Exception:
            if message[at + 1] != PACKET_IN:
                raise
            # A host's packet: it is dropped, and neither the others nor the switch must suffer for it.
            channel.packet_failed(one.up.port)
            self.packet_ins += 1
            at += one.size
        finally:
            self.is_last = False
            self.finish()
            if quick:
                intake._left = (left - quick) // QUICK
            if self.late:  # behind the answers to others
                self.queue_late(channel, intake, data)
        return at

    cdef inline void begin_read(self) noexcept:
        """What comes next is another read: each port has its share of it."""
        self.reads += 1
        self.ports = 0

    cdef inline bint has_share(self, uint32_t port) noexcept:
        """Count a packet of a port that was taken; whether that port has had its share of the read.

        A switch says any numbers. What they collide by is secret (multiply-shift: Dietzfelbinger and others, 1997), and
        those for which there is no place have had it.
        """
        cdef Py_ssize_t place = <Py_ssize_t>((port * self.spread) >> (64 - PORT_BITS))
        cdef PortTaken* one = &self.taken_of[place]
        while one.read == self.reads and one.port != port:
            place = (place + 1) & (PORT_PLACES - 1)
            one = &self.taken_of[place]
        if one.read != self.reads:
            if self.ports == PORTS:
                return True
            self.ports += 1
            one.read, one.port, one.packets = self.reads, port, 0
        one.packets += 1
        return one.packets >= SHARE

    cdef int look_ahead(self, const uint8_t* message, Py_ssize_t at, Py_ssize_t end, Ahead* ahead) noexcept:
        """Read the next messages of the kinds that may be plain, and have what they need of memory brought nearer.

        With many sessions that is in no cache, and each message would wait for it again and again. So it is asked for
        in steps, for all messages at once: each step needs what the one before has brought. Nothing is decided here.
        """
        cdef int count = 0
        cdef Ahead* one
        cdef Py_ssize_t size
        cdef bint is_far = self.parties > FEW
        while count < AT_ONCE and end - at >= 8 and message[at] == 4:
            size = be16(message + at + 2)
            if size < 8 or end - at < size:
                break
            one = &ahead[count]
            one.size = size
            if message[at + 1] == PACKET_IN:
                one.good = read_up(message + at, size, &one.up) and read_frame(
                    message + at + one.up.frame, size - one.up.frame, &one.read
                )
            elif message[at + 1] == FLOW_REMOVED:
                one.good = (
                    size >= 56
                    and message[at + 19] == FLOW_TABLE
                    and read_removed(message + at, size, &one.read.key, one.classes)
                )
                one.up.metadata = 0
            else:
                break
            if one.good:
                one.hash = hash_of(&one.read.key)
                if is_far:
                    self.table.fetch_slot(one.hash)
                    if one.up.metadata:
                        self.fetch_place(<uint32_t>(one.up.metadata >> 40))
                        self.fetch_place(<uint32_t>(one.up.metadata >> 16) & 0xFFFFFF)
            at += size
            count += 1
        if is_far and count > 1:
            self.fetch_parts(ahead, count)
        return count

    cdef void fetch_parts(self, Ahead* ahead, int count) noexcept:
        cdef int place
        cdef Ahead* one
        for place in range(count):
            one = &ahead[place]
            if one.good and one.up.metadata:
                self.fetch_party(<uint32_t>(one.up.metadata >> 40))
                self.fetch_party(<uint32_t>(one.up.metadata >> 16) & 0xFFFFFF)
            elif one.good:
                self.table.fetch_flow(one.hash)
        for place in range(count):
            one = &ahead[place]
            if one.good and not one.up.metadata:
                self.table.fetch_neighbours(one.hash)

    cdef inline void fetch_place(self, uint32_t number) noexcept:
        if self.pages[number >> 10] != NULL:
            zt_fetch(self.pages[number >> 10] + (number & 1023), 1)
            self.table.fetch_chain(number)

    cdef inline void fetch_party(self, uint32_t number) noexcept:
        if self.pages[number >> 10] != NULL and self.pages[number >> 10][number & 1023] != NULL:
            zt_fetch(self.pages[number >> 10][number & 1023], sizeof(Facts))
            self.table.fetch_last(number)

    cdef int queue_late(self, Reading channel, intake, bytes data) except -1:
        """The packets of this read that have to wait for a turn are queued: one port's that follow each other at once."""
        cdef const uint8_t* message
        cdef Up up
        cdef int place, late = self.late
        cdef uint32_t port = 0
        cdef list some = []
        self.late = 0
        for place in range(late):
            message = <const uint8_t*>PyBytes_AS_STRING(data) + self.late_at[place]
            read_up(message, be16(message + 2), &up)  # it is well formed: it was read before
            frame = PyBytes_FromStringAndSize(<const char*>message + up.frame, be16(message + 2) - up.frame)
            if some and up.port != port:
                self.queue_some(channel, intake, some)
                some = []
            port = up.port
            some.append(PacketIn(up.port, up.table, up.cookie, up.metadata, frame))
        self.queue_some(channel, intake, some)
        return 0

    cdef int queue_some(self, Reading channel, intake, list some) except -1:
        for event in intake.wait_all(some):
            if self.count:
                self.hand_over()  # records are in the order of what they are about
            channel._events.packet_dropped(channel, event)
        return 0

    def take_waiting(self, Reading channel not None, queue, intake):
        """Take packets that wait for as long as they are plain and their turn lasts. The first that is not plain, if
        that is why this ends: it is not in the queue any more."""
        cdef Up up
        cdef Read read
        cdef bytes frame
        cdef const uint8_t* octets
        cdef Py_ssize_t size
        cdef object event
        cdef int64_t left, quick = 0
        cdef double until
        cdef object clock
        if not self.begin(channel):
            return queue.take()
        clock, until = intake._clock, intake._until
        left = <int64_t>intake._left * QUICK
        try:
            while quick < left and queue:
                event = queue.take()
                frame = event[4]
                up.port, up.table, up.cookie, up.metadata = event[0], event[1], event[2], event[3]
                octets, size = <const uint8_t*>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame)
                if not read_frame(octets, size, &read):
                    return event
                if not self.packet_up(&up, &read, hash_of(&read.key), octets, size):
                    return event
                quick += 1
                if quick % WAITING_CLOCK_EVERY == 0 and <double>clock() >= until:
                    left = quick
        except Exception:
            channel.packet_failed(up.port)  # as in `run`
            self.packet_ins += 1
        finally:
            self.finish()
            if quick:
                intake._left = (left - quick) // QUICK
        return None

    cdef bint begin(self, Reading channel) except -1:
        """Look at everything that is the same for all packets of a run; whether there may be one."""
        cdef object state = self.state, policy
        cdef Switch own
        self.runs += 1
        own = self.switches.get(channel.dpid)
        if own is None or state.staged is not None:
            return False
        if type(state.flows) is not FlowTable or type(state.deferral) is not Deferral:
            return False
        self.take_table()
        self.deferral = <Deferral>state.deferral
        if not self.usable(own) or own.channel is not channel or not channel._accepted:
            return False
        self.own = own
        policy = state.policy
        if policy is not self.policy:
            self.policy = policy
            self.decisions = [None] * DECISIONS
            memset(self.denied, 0, 1 << 16)
        self.verdicts, self.rule_ids = policy._verdicts, policy.rule_ids
        if state.limits is not self.limits:
            self.limits = state.limits
            self.per_session = self.limits.flows_per_session
            self.per_switch = self.limits.flows_per_switch
            self.timed_per_switch = self.limits.timed_flows_per_switch
            self.wait_from, self.wait_share = self.limits.rules_wait_from, self.limits.meters.verify // 2
        return True

    cdef int take_table(self) except -1:
        if self.state.flows is not self.table:
            self.table = self.state.flows
            for switch in self.switches.values():
                (<Switch>switch).place = self.table.place_of((<Switch>switch).dpid)
        return 0

    cdef bint usable(self, Switch switch) except -1:
        """Whether a switch can be written to at once."""
        cdef object there
        cdef Reading channel
        if switch.checked == self.runs:
            return switch.fits
        switch.checked, switch.fits = self.runs, False
        there = switch.point.channel
        if there is None or type(there) is not self.channel_type or not switch.point.ready:
            return False
        channel = <Reading?>there
        if channel._closed_for is not None or channel._gates:
            return False
        if not channel._writable and channel.is_full:
            return False
        switch.channel, switch.out = channel, channel._out
        switch.watches = channel._watches if channel._watches.active else None
        switch.fits = True
        return True

    cdef int finish(self) except -1:
        """Hand over the records, and count."""
        cdef object counters = self.state.counters
        self.send()
        self.taken += self.packet_ins
        if self.packet_ins:
            counters["packet_ins"] += self.packet_ins
        if self.allowed:
            counters["allowed"] += self.allowed
        if self.let_in:
            counters["granted"] += self.let_in
        if self.not_sent_back:
            counters["not_sent_back"] += self.not_sent_back
        if self.flows_ended:
            counters["flows_ended"] += self.flows_ended
        if self.flows_deferred:
            counters["flows_deferred"] += self.flows_deferred
        self.packet_ins = self.allowed = self.let_in = self.not_sent_back = self.flows_ended = self.flows_deferred = 0
        if self.count:
            self.hand_over()
        return 0

    cdef int send(self) except -1:
        """Send what was written to the switch that is read, if nothing waits before it: records are handed over and
        counted behind that."""
        cdef object transport
        cdef int fd
        if self.own.out.size == 0:
            return 0
        fd = self.own.channel._plain
        if fd < 0:
            return 0
        transport = self.own.channel._transport
        if transport.is_closing() or <Py_ssize_t>transport.get_write_buffer_size():
            return 0
        return self.own.out.send(fd)

    cdef int hand_over(self) except -1:
        cdef Py_ssize_t size = self.size, count = self.count
        self.size = self.count = 0
        self.journal.write_lines(PyBytes_FromStringAndSize(self.lines, size), count)
        return 0

    # parties

    cdef Facts* party(self, uint32_t number) except? NULL:
        """The session of this number, if it is a plain one; NULL if not."""
        cdef Facts** page
        cdef Facts* known
        if number == 0 or number > MAX_NUMBER:
            return NULL
        page = self.pages[number >> 10]
        if page != NULL:
            known = page[number & 1023]
            # What was there may be void, or room for somebody else by now.
            if known != NULL and known.fits and known.number == number and known.owner == <void*>self:
                return known
        return self.new_party(number)

    cdef inline Facts* party_of(self, Facts* end, uint32_t number) except? NULL:
        """The session at an end of a flow: what was known of it then, if that still fits."""
        if end != NULL and end.fits and end.owner == <void*>self:
            return end
        return self.party(number)

    cdef bint find_ends(self, LiveFlow flow, Facts** opener, Facts** to) except -1:
        """Find the sessions that a flow was opened by and to; False if one is not plain, or has gone and its number is
        another's."""
        cdef Facts* one = self.party_of(flow.opener, flow.subject)
        cdef Facts* other = self.party_of(flow.opened, flow.to)
        opener[0], to[0] = one, other
        if one == NULL or other == NULL:
            return False
        if flow.opener != one and flow.opened_by is not <object>one.session:
            return False
        return flow.opened == other or flow.opened_to is <object>other.session

    cdef Facts* new_party(self, uint32_t number) except? NULL:
        cdef object live = self.state.sessions.by_number.get(number), session, place, switch
        cdef bytes who
        cdef Facts* made
        cdef Facts** page
        if live is None or type(live) is not self.live_type or live.by_address or not live.entered:
            return NULL
        session = live.session
        place = session.attachment
        switch = self.by_number.get(live.switch)
        if session.number != number or switch is None or (<Switch>switch).dpid != place.dpid:
            return NULL
        if len(session.addresses) > 8:
            return NULL
        for address in session.addresses:
            if len(address) not in (4, 16):
                return NULL
        page = self.page_of(number)
        who, numbered = self.who(session)
        made = new_facts()
        try:
            fill(made, session.addresses)
            made.number, made.session_class = number, live.session_class
            made.port, made.vlan, made.mac = place.port, place.vlan, place.mac
            made.numbered = numbered
        except BaseException:
            drop(made)
            raise
        made.owner, made.switch = <void*>self, <PyObject*>switch
        Py_INCREF(session)
        made.session = <PyObject*>session
        Py_INCREF(who)
        made.who = <PyObject*>who
        self.parties += page[number & 1023] == NULL
        page[number & 1023] = made
        (<Watched>live).keep(made)
        return made

    cdef Facts** page_of(self, uint32_t number) except NULL:
        cdef Facts** page
        if self.parties > 2 * len(self.state.sessions.by_number) + 1024:
            self.forget()  # most of them have ended
        page = self.pages[number >> 10]
        if page == NULL:
            page = <Facts**>calloc(1024, sizeof(Facts*))
            if page == NULL:
                raise MemoryError
            self.pages[number >> 10] = page
        return page

    cdef tuple who(self, session):
        """A session as a record has it, and whether that is what comes behind the number: it is the same for many."""
        cdef bytes text = who(session), head = b'{"session": %d' % session.number
        if not text.startswith(head):
            return text, False
        if len(self.whos) > 0xFFFF:
            self.whos.clear()
        text = text[len(head):]
        return self.whos.setdefault(text, text), True

    def prepare(self, numbers):
        """Get to know the sessions of these numbers before their packets come."""
        cdef uint32_t number
        self.runs += 1
        for number in numbers:
            self.party(number)

    cdef void forget(self) noexcept:
        """Know nobody any more. What is kept of them is theirs."""
        cdef int at
        for at in range(16384):
            free(self.pages[at])
            self.pages[at] = NULL
        self.parties = 0

    # decisions

    cdef Decision decision(self, uint32_t subject_class, uint32_t object_class, const Key* key):
        """The decision on a flow between two classes; None if it is not to let it pass, or not to be told so easily."""
        cdef uint32_t port = 0 if key.proto == ICMP or key.proto == ICMPV6 else key.dport
        cdef uint64_t wanted
        cdef Decision known
        cdef PyObject* held
        cdef Py_ssize_t at
        if subject_class > 0xFFFF or object_class > 0xFFFF:
            return None
        wanted = <uint64_t>subject_class << 48 | <uint64_t>object_class << 32 | <uint64_t>key.proto << 16 | port
        at = <Py_ssize_t>((wanted * 0x9E3779B97F4A7C15ULL) >> 52)
        known = self.decisions[at]
        if known is None or known.key != wanted or known.checked != self.runs:
            if known is not None and known.key == wanted:
                held = PyDict_GetItem(self.verdicts, known.asked)
                if held != <PyObject*>known.verdict:
                    known = None
            else:
                known = None
            if known is None:
                known = self.new_decision(subject_class, object_class, key.proto, port)
                known.key = wanted
                self.decisions[at] = known
            known.checked = self.runs
        return known if known.fits else None

    cdef inline bint denies(self, uint32_t rule) except -1:
        """Whether the number is that of a deny rule; what the policy says of it is asked once."""
        if self.denied[rule] == 0:
            self.denied[rule] = 2 if self.policy.denies(rule) else 1
        return self.denied[rule] == 2

    cdef Decision new_decision(self, uint32_t subject_class, uint32_t object_class, uint8_t proto, uint32_t port):
        cdef Decision made = Decision.__new__(Decision)
        made.asked = (subject_class, object_class, proto, port)
        made.verdict = self.policy.verdict(subject_class, object_class, proto, port)
        made.fits = made.verdict.allowed and not made.verdict.relations and made.verdict.until == INFINITY
        made.rule = made.verdict.rule
        made.rule_text = as_json(made.verdict.rule_id or "")
        return made

    # packets

    cdef bint packet_read(self, const Ahead* one, const uint8_t* message) except -1:
        """A packet-in that was read; False if it is not plain, and nothing has changed then."""
        return self.packet_up(&one.up, &one.read, one.hash, message + one.up.frame, one.size - one.up.frame)

    cdef bint packet_up(
        self, const Up* up, const Read* read, uint64_t hash, const uint8_t* frame, Py_ssize_t size
    ) except -1:  # fmt: skip
        """One packet; False if it is not plain, and nothing has changed then."""
        cdef uint32_t rule = up.cookie & 0xFFFF
        cdef Facts* sender
        cdef Facts* receiver
        cdef PyObject* found
        cdef int direction = 0
        if rule == 0 or rule > MAX_RULE_NUMBER or size > 0xFF00 or self.denies(rule):
            return False
        if up.metadata & CONNECTION_BITS and up.table != COMMITTED_TABLE:
            return False  # of a connection that the switch has let in
        sender = self.party(<uint32_t>(up.metadata >> 40))
        if sender == NULL:
            return False
        receiver = self.party(<uint32_t>(up.metadata >> 16) & 0xFFFFFF)
        if receiver == NULL or (sender.switch != <PyObject*>self.own and receiver.switch != <PyObject*>self.own):
            return False
        if not has_address(sender, read.key.src, read.key.size) or not has_address(receiver, read.key.dst, read.key.size):
            return False
        if up.table == COMMITTED_TABLE:
            return self.granted(rule, read, sender, receiver)
        found = self.table.lookup(&read.key, hash, &direction)
        if found != NULL:
            return self.known(<LiveFlow>found, direction, read, sender, receiver, frame, size)
        return self.new(hash, read, sender, receiver, frame, size)

    cdef bint granted(self, uint32_t rule, const Read* read, Facts* subject, Facts* to) except -1:
        """The copy of a packet by which the switch has let a connection in: nothing but a record is made of it."""
        cdef object rule_id = self.rule_ids.get(rule)
        if rule_id is None or subject.switch != <PyObject*>self.own:
            return False
        self.packet_ins += 1
        self.let_in += 1
        self.own.point.told += 1
        self.write_allowed(&read.key, self.rule_text(rule_id), subject, to, self.clock(), by_switch=True)
        return True

    cdef bint new(
        self, uint64_t hash, const Read* read, Facts* subject, Facts* to, const uint8_t* frame, Py_ssize_t size
    ) except -1:  # fmt: skip
        """The first packet of a flow."""
        cdef Decision decision
        cdef LiveFlow flow
        cdef FlowTable table = self.table
        cdef int64_t opened, at
        cdef double now
        cdef int idle
        cdef bint waits
        cdef const Key* key = &read.key
        cdef Switch far
        if subject.switch != <PyObject*>self.own:
            return False
        if key.proto == TCP:
            if read.flags & (FIN | SYN | RST | ACK) != SYN:
                return False
        elif (key.proto == ICMP or key.proto == ICMPV6) and key.sport != 8:
            return False
        elif table.idle_others and table.remembers(key):
            return False
        decision = self.decision(subject.session_class, to.session_class, key)
        far = <Switch>to.switch
        if decision is None or not self.usable(far):
            return False
        opened = subject.opened
        at = table.counts[self.own.place]
        if table.counts[far.place] > at:
            at = table.counts[far.place]
        if opened >= self.per_session or opened >= self.per_switch - at:
            return False
        now = self.clock()
        idle = 0
        waits = key.proto == UDP and self.defers(subject, to, now)
        if waits:
            self.flows_deferred += 1
        elif table.timed[self.own.place] < self.timed_per_switch and table.timed[far.place] < self.timed_per_switch:
            idle = self.idle_seconds[key.proto]
        flow = LiveFlow.__new__(LiveFlow)
        flow.wire, flow.hash = key[0], hash
        flow.subject, flow.to, flow.rule = subject.number, to.number, decision.rule
        flow.subject_class, flow.object_class = subject.session_class, to.session_class
        flow.opener, flow.opened = subject, to
        subject.uses += 1
        to.uses += 1
        flow.started = flow.installed = now
        flow.ends = INFINITY
        flow.alive, flow.idle_timeout = 0 if waits else FORWARD | RETURN, idle
        flow.at_subject, flow.at_object = self.own.place, far.place
        flow.sent[0], flow.sent[1] = 1, size
        table.enter(flow)
        subject.opened = opened + 1
        self.deliver(subject, to, frame, size)
        if not waits:
            self.install(flow, self.own, far)
        if self.is_last:
            self.send()  # the record is made while the switch works
        self.packet_ins += 1
        self.allowed += 1
        self.write_allowed(key, decision.rule_text, subject, to, now, by_switch=False)
        return True

    cdef bint defers(self, const Facts* subject, const Facts* to, double now) except -1:
        """Whether the rules of a new flow without a connection wait; counts it."""
        return self.deferral.defers(
            (<Switch>subject.switch).dpid, subject.port, (<Switch>to.switch).dpid, to.port,
            self.wait_from, self.wait_share, now,
        )  # fmt: skip

    cdef bint known(
        self, LiveFlow flow, int direction, const Read* read, Facts* sender, Facts* receiver, const uint8_t* frame,
        Py_ssize_t size,
    ) except -1:  # fmt: skip
        """A packet of a flow that there is: delivered once more, and no more than that."""
        cdef Facts* subject = sender if direction == FORWARD else receiver
        cdef Facts* to = receiver if direction == FORWARD else sender
        cdef bint begins = read.flags & SYN
        cdef bint waits = not flow.alive
        if flow.subject != subject.number or flow.to != to.number:
            return False
        if waits and flow.sent[0 if direction == FORWARD else 2] or not waits and not flow.alive & direction:
            return False
        if begins and (read.flags & (FIN | RST) or (direction == RETURN and not read.flags & ACK)):
            return False
        if flow.subject_class != subject.session_class or flow.object_class != to.session_class:
            return False
        if self.decision(subject.session_class, to.session_class, &flow.wire) is None:
            return False
        if not waits and <double>self.clock() - flow.installed > (REOPENED if begins else REINSTALL):
            return False
        if not self.usable(<Switch>receiver.switch):
            return False
        if waits:
            self.table.queue_up(flow, self.table.until_test(flow), -1, self.clock())
        self.deliver(sender, receiver, frame, size)
        flow.add_up(direction, 1, size)
        self.packet_ins += 1
        return True

    cdef int install(self, LiveFlow flow, Switch own, Switch far) except -1:
        """Both directions, the far end first: the packet is delivered there a moment before."""
        cdef Template* rule = self.rule_of(&flow.wire)
        if far is not own:
            if far.watches is not None:
                tell(far, flow)
            self.open(far)
            write_pair(rule, far.out, flow, False)
        if own.watches is not None:
            tell(own, flow)
        self.open(own)
        write_pair(rule, own.out, flow, True)
        return 0

    cdef inline int open(self, Switch switch) except -1:
        """What is written to a switch goes out when this is over; to others than the one that is read, soon."""
        if switch.out.size == 0 and switch is not self.own:
            switch.channel._flush_soon()
        return 0

    cdef int deliver(self, Facts* sender, Facts* receiver, const uint8_t* frame, Py_ssize_t size) except -1:
        cdef Switch switch = <Switch>receiver.switch
        cdef Py_ssize_t tag = 4 if receiver.vlan else 0
        cdef uint8_t* at
        if sender.switch == receiver.switch and sender.port == receiver.port and sender.vlan == receiver.vlan:
            self.not_sent_back += 1
            return 0
        self.open(switch)
        at = <uint8_t*>switch.out.reserve(40 + size + tag)
        at[0], at[1] = 4, 13
        put16(at + 2, <uint32_t>(40 + size + tag))
        put32(at + 4, switch.out.number())
        put32(at + 8, 0xFFFFFFFFU)
        put32(at + 12, 0xFFFFFFFDU)
        put16(at + 16, 16)
        memset(at + 18, 0, 8)
        put16(at + 26, 16)
        put32(at + 28, receiver.port)
        memset(at + 32, 0, 8)
        at += 40
        if not tag:
            memcpy(at, frame, size)
            return 0
        memcpy(at, frame, 12)
        put16(at + 12, 0x8100)
        put16(at + 14, receiver.vlan)
        memcpy(at + 16, frame + 12, size - 12)
        return 0

    # entries that are gone

    cdef bint flow_removed(self, Ahead* one, const uint8_t* message) except -1:
        """A direction of a flow is gone; False if it is not plain, and nothing has changed then."""
        cdef uint32_t* classes = one.classes
        cdef uint64_t cookie
        cdef uint32_t subject
        cdef int direction = 0, reason, idle
        cdef bint finished
        cdef PyObject* found
        cdef LiveFlow flow
        cdef Facts* opener = NULL
        cdef Facts* to = NULL
        cookie = be64(message + 8)
        subject = <uint32_t>(cookie >> 40)
        if subject == 0 or (self.table.awaits(subject) and self.table.awaits(<uint32_t>(cookie >> 16) & 0xFFFFFF)):
            return False
        found = self.table.lookup(&one.read.key, one.hash, &direction)
        if found == NULL:
            return True  # of nothing that is known
        flow = <LiveFlow>found
        if flow.subject != subject or flow.to != (<uint32_t>(cookie >> 16) & 0xFFFFFF):
            return True  # of one between others, at the same addresses
        if flow.at_subject != self.own.place:
            return True  # only the subject's own switch is believed
        if not flow.alive or flow.forward_replaced or flow.return_replaced or (cookie & 0xFFFF) != flow.rule:
            return False
        if direction == FORWARD:
            if classes[0] != flow.subject_class or classes[1] != flow.object_class:
                return False
        elif classes[1] != flow.subject_class or classes[0] != flow.object_class:
            return False
        reason, idle = message[18], be16(message + 28)
        finished = 0 < idle <= FIN_SECONDS
        if reason == 1 and not finished:
            return False  # it may go on
        if reason == 0 and not finished and not flow.idle_timeout and idle > FIN_SECONDS:
            return False  # it may go on
        if flow.alive & ~direction == 0:
            if not self.find_ends(flow, &opener, &to):
                return False
            if not flow.idle_timeout and to.switch != opener.switch and not self.usable(<Switch>to.switch):
                return False
        elif finished and not flow.idle_timeout:
            return False  # the other direction is put to the test
        flow.add_up(direction, be64(message + 32), be64(message + 40))
        flow.alive &= ~direction
        if not flow.alive:
            self.end(flow, opener, to, finished, reason, idle)
        return True

    def end_silent(self, LiveFlow flow not None, double now):
        """A flow without rules has been silent: it has ended. False if it is not plain: nothing has changed then."""
        cdef Facts* opener
        cdef Facts* to
        if type(self.state.flows) is not FlowTable:
            return False
        self.take_table()
        if flow.table != <PyObject*>self.table or flow.alive:
            return False
        if not self.find_ends(flow, &opener, &to):
            return False
        self.rule_ids = self.state.policy.rule_ids
        self.finish_flow(flow, opener, to, False, 0, SILENT, now)
        self.state.counters["flows_ended"] += self.flows_ended
        self.flows_ended = 0
        if self.count:
            self.hand_over()
        return True

    cdef int end(self, LiveFlow flow, Facts* opener, Facts* to, bint finished, int reason, int idle) except -1:
        cdef Switch far
        cdef int back
        if not flow.idle_timeout and to.switch != opener.switch:
            far = <Switch>to.switch
            if far.watches is not None:
                tell(far, flow)
            self.open(far)
            for back in range(2):
                write_rule(
                    self.rule_of(&flow.wire), far.out, &flow.wire, back, flow.subject, flow.to,
                    flow.subject_class, flow.object_class, flow.rule, False, FIN_SECONDS,
                )  # fmt: skip
        return self.finish_flow(flow, opener, to, finished, reason, idle, self.clock())

    cdef int finish_flow(
        self, LiveFlow flow, Facts* opener, Facts* to, bint finished, int reason, int idle, double now
    ) except -1:  # fmt: skip
        cdef object watcher
        self.table.leave(flow)
        opener.opened -= 1
        if not finished:
            if flow.wire.proto == TCP:
                self.table.remember(flow)
            elif reason == 0 and idle < self.idle_seconds[flow.wire.proto]:
                self.table.expect_answer(flow, now)
        self.flows_ended += 1
        self.write_ended(flow, opener, to, 3 if finished else reason if 0 <= reason <= 2 else 2, now)
        if self.journal.flow_watchers:
            self.hand_over()
            for watcher in self.journal.flow_watchers:
                watcher(flow)
        memcpy(flow.recorded, flow.sent, sizeof(flow.sent))
        return 0

    # records

    cdef int tell_time(self, double now) except -1:
        """Have the moment as text, as `audit.record.rfc3339` writes it."""
        cdef double whole = 0
        cdef double micros = rint(modf(now, &whole) * 1e6)
        cdef int64_t second, millisecond
        cdef bytes text
        if not 0 <= now < 4e9:
            self.second = -1
            text = rfc3339(now).encode()
        else:
            if micros >= 1e6:
                micros -= 1e6
                whole += 1
            second, millisecond = <int64_t>whole, <int64_t>micros // 1000
            if second == self.second and millisecond == self.millisecond:
                return 0
            text = rfc3339(now).encode()
            self.second, self.millisecond = second, millisecond
        if len(text) != 24:
            raise ValueError("a time has 24 characters")
        memcpy(self.moment, PyBytes_AS_STRING(text), 24)
        return 0

    cdef char* make_room(self, Py_ssize_t size) except NULL:
        cdef Py_ssize_t room = self.room
        cdef char* lines
        while self.size + size > room:
            room *= 2
        if room != self.room:
            lines = <char*>realloc(self.lines, room)
            if lines == NULL:
                raise MemoryError
            self.lines, self.room = lines, room
        return self.lines + self.size

    cdef bytes rule_text(self, rule_id):
        """The id of a rule as JSON."""
        cdef bytes rule = self.rule_texts.get(rule_id)
        if rule is None:
            if len(self.rule_texts) > 0xFFFF:
                self.rule_texts.clear()
            rule = self.rule_texts[rule_id] = as_json(rule_id)
        return rule

    cdef int write_allowed(
        self, const Key* key, bytes rule_text, Facts* subject, Facts* to, double now, bint by_switch
    ) except -1:  # fmt: skip
        cdef Py_ssize_t rule = PyBytes_GET_SIZE(rule_text)
        cdef char* at
        self.tell_time(now)
        at = self.make_room(LINE + rule + text_of(subject) + text_of(to))
        at = words_at(at, b'{"time": "')
        at = text_at(at, self.moment, 24)
        at = words_at(at, b'", "event": "decision", "decision": "allow", "rule": ')
        at = text_at(at, PyBytes_AS_STRING(rule_text), rule)
        at = words_at(at, b', "reason": "rule", "subject": ')
        at = parties_at(at, subject, to)
        at = address_at(at, key.src, key.size)
        at = words_at(at, b', "destination": ')
        at = address_at(at, key.dst, key.size)
        at = service_at(at, key)
        if by_switch:
            at = words_at(at, b', "enforced": "switch"')
        at = words_at(at, b"}\n")
        self.size = at - self.lines
        self.count += 1
        return 0

    cdef int write_ended(self, LiveFlow flow, Facts* opener, Facts* to, int why, double now) except -1:
        cdef bytes rule = self.rule_text(self.rule_ids.get(flow.rule)), lasted
        cdef char* at
        lasted = repr(round(now - flow.started, 3)).encode()
        self.tell_time(now)
        at = self.make_room(LINE + len(rule) + text_of(opener) + text_of(to))
        at = words_at(at, b'{"time": "')
        at = text_at(at, self.moment, 24)
        at = words_at(at, b'", "event": "flow_end", "rule": ')
        at = text_at(at, PyBytes_AS_STRING(rule), len(rule))
        at = words_at(at, b', "reason": ')
        if why == 0:
            at = words_at(at, b'"idle"')
        elif why == 1:
            at = words_at(at, b'"lease-ended"')
        elif why == 2:
            at = words_at(at, b'"removed"')
        else:
            at = words_at(at, b'"finished"')
        at = words_at(at, b', "subject": ')
        at = parties_at(at, opener, to)
        at = address_at(at, flow.wire.src, flow.wire.size)
        at = words_at(at, b', "destination": ')
        at = address_at(at, flow.wire.dst, flow.wire.size)
        at = service_at(at, &flow.wire)
        at = words_at(at, b', "packets": ')
        at = number_at(at, flow.sent[0] - flow.recorded[0])
        at = words_at(at, b', "bytes": ')
        at = number_at(at, flow.sent[1] - flow.recorded[1])
        at = words_at(at, b', "return_packets": ')
        at = number_at(at, flow.sent[2] - flow.recorded[2])
        at = words_at(at, b', "return_bytes": ')
        at = number_at(at, flow.sent[3] - flow.recorded[3])
        at = words_at(at, b', "duration": ')
        at = text_at(at, PyBytes_AS_STRING(lasted), len(lasted))
        at = words_at(at, b"}\n")
        self.size = at - self.lines
        self.count += 1
        return 0


def frame_of(bytes frame not None):
    """The key and the TCP flags of a plain frame; None for all others. To be held against `net.flowkey.parse_frame`."""
    cdef Read read
    if not read_frame(<const uint8_t*>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), &read):
        return None
    return key_of(&read.key), read.flags


def removed_of(bytes message not None):
    """The key and the classes in a flow-removed that is plain. To be held against `hotpath.read_flow_removed`."""
    cdef Key key
    cdef uint32_t classes[2]
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(message)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
    if size < 56 or data[19] != FLOW_TABLE or not read_removed(data, size, &key, classes):
        return None
    return key_of(&key), (classes[0], classes[1])


cdef object key_of(const Key* key):
    return FlowKey(
        PyBytes_FromStringAndSize(<const char*>key.src, key.size),
        PyBytes_FromStringAndSize(<const char*>key.dst, key.size),
        key.proto,
        key.sport,
        key.dport,
    )
