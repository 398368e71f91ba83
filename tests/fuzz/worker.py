"""One target under atheris, in a process of its own: libFuzzer ends the process when it is done.

Usage: python -m fuzz.worker TARGET [LIBFUZZER ARGUMENT …]
"""

from __future__ import annotations

import logging
import sys

import structlog


def main() -> None:
    """Never returns."""
    import atheris

    name, arguments = sys.argv[1], [sys.argv[0], *sys.argv[2:]]
    # What the controller writes about bad input is not of interest here, and takes most of the time.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=["zethane"]):
        from fuzz.registry import TARGETS
    atheris.Setup(arguments, TARGETS[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
