"""`python -m fuzz`: what ./run fuzz calls."""

from fuzz.command import main

raise SystemExit(main())
