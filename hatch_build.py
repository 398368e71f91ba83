"""Compiles the modules that are written in Cython, beside their sources, when zethane is installed or packed.

Without a compiler, or without Python's headers, this says so and leaves them out: the same is then done in Python.
ZETHANE_PURE=1 leaves them out, too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("controller")
FLAGS = ["-O3", "-fno-strict-aliasing", "-Wno-unused-function"]


class CompileHook(BuildHookInterface[Any]):
    """Called by hatchling for wheels and editable installations."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's signature
        """Compile, and pack what was compiled. Nothing that goes wrong here keeps zethane from being installed."""
        root = Path(self.root)
        for stale in (root / SOURCES).rglob("*.so"):
            stale.unlink()
        if os.environ.get("ZETHANE_PURE", "0") not in ("", "0"):
            return
        try:
            compile_modules(root)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # of whatever kind: there is another way
            self.app.display_warning(f"zethane is not compiled and works in Python alone: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append("*.so")


def compile_modules(root: Path) -> None:
    """Compile every `.pyx` in place. Raises whatever the compilers raise."""
    # Imported here: where nothing is compiled they need not be there.
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    before = Path.cwd()
    os.chdir(root)
    try:
        modules = [
            Extension(_module(source), [str(source)], extra_compile_args=FLAGS)
            for source in sorted(SOURCES.rglob("*.pyx"))
        ]
        made = cythonize(
            modules, include_path=[str(SOURCES)], compiler_directives={"language_level": 3}, quiet=True, force=True
        )
        command = build_ext(Distribution({"name": "zethane", "ext_modules": made, "package_dir": {"": str(SOURCES)}}))
        command.inplace = command.force = True
        command.build_temp = "build/temp"
        command.parallel = os.cpu_count()
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)


def _module(source: Path) -> str:
    return ".".join(source.relative_to(SOURCES).with_suffix("").parts)


if __name__ == "__main__":
    compile_modules(Path(__file__).parent)
    sys.exit(0)
