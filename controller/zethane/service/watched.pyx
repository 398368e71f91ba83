# cython: language_level=3
"""What the compiled path keeps of a session, and that it is void as soon as the session is another one.

All of it lies close together, in memory that is taken in pieces of 2 MiB and never given back: a pointer to it can be
followed at any time, and whoever follows one looks whether what is there is what was meant. With 100,000 sessions that
are heard of in any order, what a session costs is the memory that has to be waited for.
"""

from cpython.ref cimport PyObject, Py_XDECREF
from libc.stdint cimport int64_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef extern from "Python.h":
    int PyObject_GenericSetAttr(object of, object name, PyObject* value) except -1

cdef extern from *:
    """
    #include <stdlib.h>
    #include <sys/mman.h>
    static void *zt_piece(size_t size) {
        void *piece = NULL;
        if (posix_memalign(&piece, size, size)) return NULL;
    #ifdef MADV_HUGEPAGE
        (void)madvise(piece, size, MADV_HUGEPAGE); /* of use, and no more than that */
    #endif
        return piece;
    }
    """
    void* zt_piece(size_t size) noexcept

cdef frozenset MATTERS = frozenset({"session", "session_class", "switch", "by_address", "entered"})
"""The attributes of `service.sessions.Live` that what is kept is made from."""

cdef size_t PIECE = 2 << 20

cdef Facts* unused = NULL
"""The first that is not in use; each has the next as its `owner`."""

if sizeof(Facts) != 128:
    raise ImportError("what is kept of a session does not fill two lines of the cache")


cdef Facts* new_facts() except NULL:
    """Room for what is kept of a session, empty and in use once."""
    global unused
    cdef Facts* found
    cdef Facts* piece
    cdef size_t at
    if unused == NULL:
        piece = <Facts*>zt_piece(PIECE)
        if piece == NULL:
            raise MemoryError
        for at in range(PIECE // sizeof(Facts)):
            piece[at].fits = 0
            piece[at].number = 0
            piece[at].owner = &piece[at + 1] if at + 1 < PIECE // sizeof(Facts) else NULL
        unused = piece
    found = unused
    unused = <Facts*>found.owner
    memset(found, 0, sizeof(Facts))
    found.uses = 1
    found.packed = found.own
    return found


cdef void drop(Facts* facts) noexcept:
    """It is in use once less."""
    global unused
    cdef PyObject* session
    cdef PyObject* who
    facts.uses -= 1
    if facts.uses:
        return
    session, who = facts.session, facts.who
    if facts.packed != facts.own:
        free(facts.packed)
    memset(facts, 0, sizeof(Facts))
    facts.owner = unused
    unused = facts
    Py_XDECREF(session)
    Py_XDECREF(who)


cdef class Watched:
    """The base of `service.sessions.Live`. Whoever changes a session need not tell: it is seen here."""

    def __dealloc__(self):
        self.let_go()

    def __setattr__(self, name, value):
        PyObject_GenericSetAttr(self, name, <PyObject*>value)
        if self.facts != NULL and name in MATTERS:
            self.let_go()

    def __delattr__(self, name):
        self.let_go()
        PyObject_GenericSetAttr(self, name, NULL)

    @property
    def opened(self):
        """The live flows that it is the subject of."""
        return self.count if self.facts == NULL else self.facts.opened

    @opened.setter
    def opened(self, int64_t count):
        if self.facts == NULL:
            self.count = count
        else:
            self.facts.opened = count

    cdef void keep(self, Facts* facts) noexcept:
        """Let this be what is kept, and nothing that was before. It is this object's use now."""
        self.let_go()
        facts.opened, facts.fits = self.count, 1
        self.facts = facts

    cdef void let_go(self) noexcept:
        cdef Facts* facts = self.facts
        if facts != NULL:
            self.facts = NULL
            self.count, facts.fits = facts.opened, 0
            drop(facts)
