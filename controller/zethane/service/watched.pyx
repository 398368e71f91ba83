# cython: language_level=3
"""What the compiled path keeps of a session, and that it is void as soon as the session is another one."""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

cdef extern from "Python.h":
    int PyObject_GenericSetAttr(object of, object name, PyObject* value) except -1

cdef frozenset MATTERS = frozenset({"session", "session_class", "switch", "by_address", "entered"})
"""The attributes of `service.sessions.Live` that what is kept is made from."""


@cython.no_gc
cdef class Kept:
    """What is kept of a live session, as long as it `fits`. It has the count of flows meanwhile: the hot path looks at
    nothing else of a session."""


@cython.no_gc_clear
cdef class Watched:
    """The base of `service.sessions.Live`. Whoever changes a session need not tell: it is seen here."""

    def __dealloc__(self):
        if self.kept is not None:
            self.kept.fits = False

    def __setattr__(self, name, value):
        PyObject_GenericSetAttr(self, name, <PyObject*>value)
        if self.kept is not None and name in MATTERS:
            self.let_go()

    def __delattr__(self, name):
        self.let_go()
        PyObject_GenericSetAttr(self, name, NULL)

    @property
    def opened(self):
        """The live flows that it is the subject of."""
        return self.count if self.kept is None else self.kept.opened

    @opened.setter
    def opened(self, int64_t count):
        if self.kept is None:
            self.count = count
        else:
            self.kept.opened = count

    cdef void keep(self, Kept kept) noexcept:
        """Let this be what is kept, and nothing that was before."""
        self.let_go()
        kept.opened, kept.fits = self.count, True
        self.kept = kept

    cdef void let_go(self) noexcept:
        if self.kept is not None:
            self.count, self.kept.fits = self.kept.opened, False
            self.kept = None
