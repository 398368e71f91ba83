"""`./run fuzz`: try targets for some time, and keep the inputs that break one."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from fuzz import by_coverage, by_hypothesis
from fuzz.registry import TARGETS
from fuzz.target import CORPUS, Target

HELD, FAILED, WRONG = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 all held, 1 a target failed, 2 the arguments are wrong or the engine is missing."""
    wanted = _parser().parse_args(arguments)
    unknown = [name for name in wanted.targets if name not in TARGETS]
    if unknown:
        return _wrong(f"no target is called {unknown[0]}; there are: {', '.join(TARGETS)}")
    if wanted.list:
        print("\n".join(TARGETS))
        return HELD
    targets = [TARGETS[name] for name in wanted.targets or TARGETS]
    if wanted.input is not None:
        return _reproduce(targets, wanted.input)
    if wanted.seconds < len(targets):
        return _wrong(f"expected at least a second for each of the {len(targets)} targets")
    if wanted.engine == "atheris" and not by_coverage.is_there():
        return _wrong("atheris is not installed for this Python; --engine hypothesis works everywhere")
    return _campaign(targets, wanted)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run fuzz", description="Try every parser of foreign bytes with many bad inputs."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="targets to try; all without any")
    parser.add_argument("--seconds", type=int, default=300, help="for all targets together (default: 300)")
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), default="atheris", help="atheris sees coverage")
    parser.add_argument("--corpus", type=Path, help="keep inputs that reach new code here, and begin with them")
    parser.add_argument("--crashes", type=Path, help="keep inputs that break a target here")
    parser.add_argument("--input", type=Path, help="try one target with this file and nothing else")
    parser.add_argument("--list", action="store_true", help="name the targets")
    return parser


def _wrong(message: str) -> int:
    print(f"run fuzz: {message}", file=sys.stderr)
    return WRONG


def _reproduce(targets: Sequence[Target], path: Path) -> int:
    if len(targets) != 1:
        return _wrong("--input needs exactly one target")
    try:
        data = path.read_bytes()
    except OSError as error:
        return _wrong(f"cannot read {path}: {error.strerror}")
    try:
        targets[0].check(data)
    except Exception:  # noqa: BLE001  # whatever it is, it is what was to be shown
        traceback.print_exc()
        return FAILED
    print(f"{targets[0].name} holds for {path}")
    return HELD


def _campaign(targets: Sequence[Target], wanted: argparse.Namespace) -> int:
    work = Path(tempfile.mkdtemp(prefix="zethane-fuzz."))
    corpus, crashes = wanted.corpus or work / "corpus", wanted.crashes or work / "crashes"
    try:
        crashes.mkdir(parents=True, exist_ok=True)
        corpus.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _wrong(f"cannot make {error.filename}: {error.strerror}")
    share = wanted.seconds // len(targets)
    failed: dict[str, list[str]] = {}
    for target in targets:
        print(f"{target.name}: {share} s", flush=True)
        commands = _try(target, share, wanted.engine, corpus / target.name, crashes)
        if commands:
            failed[target.name] = commands
    _report(targets, failed, corpus)
    return FAILED if failed else HELD


def _try(target: Target, seconds: int, engine: str, corpus: Path, crashes: Path) -> list[str]:
    """The commands that show again what failed."""
    try:
        if engine == "atheris":
            found = by_coverage.run(target, seconds, corpus, crashes)
        else:
            found = by_hypothesis.run(target, seconds, crashes)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return [f"the engine itself failed: {error}"]
    return [f"./run fuzz {target.name} --input {path}" for path in found]


def _report(targets: Sequence[Target], failed: dict[str, list[str]], corpus: Path) -> None:
    print()
    for target in targets:
        print(f"{target.name:<20} {'FAILED' if target.name in failed else 'held'}")
        for command in failed.get(target.name, ()):
            print(f"    {command}")
    if failed:
        print(f"\nWhen it is mended, keep the input as {CORPUS.name}/TARGET/WHAT-IT-SHOWS in tests/fuzz.")
    print(f"\nInputs that reached new code: {corpus}")
