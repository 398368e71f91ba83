"""identities.yaml while the controller runs: a good version is put in force once, a bad one never."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from zethane.app.reload import DirectoryFile, PolicyFile
from zethane.app.topology import load_directory, load_policy, load_topology
from zethane.app.workers import in_process
from zethane.errors import InputError
from zethane.identity.directory import Directory
from zethane.policy.model import Policy

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "continuous"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TOPOLOGY, tmp_path / "topology"))


def watched(folder: Path) -> tuple[DirectoryFile, list[Directory]]:
    used: list[Directory] = []
    file = DirectoryFile(load_topology(folder), lambda: 1000.0)

    async def use(directory: Directory) -> None:
        used.append(directory)

    file.use = use
    return file, used


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "identities.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


async def test_each_version_is_put_in_force_once(folder: Path) -> None:
    file, used = watched(folder)
    assert await file.reload()
    assert not await file.reload()
    edit(folder, "groups: [staff]", "groups: [guests]")
    assert await file.reload()
    assert [set(one.users["bob"].groups) for one in used] == [{"staff"}, {"guests"}]


@pytest.mark.parametrize("text", ["users: {alice: {groups: [}", "user: {}", ""])
async def test_a_bad_version_is_told_and_changes_nothing(folder: Path, text: str) -> None:
    file, used = watched(folder)
    (folder / "identities.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        await file.reload()
    assert used == []
    assert file.problems
    shutil.copyfile(TOPOLOGY / "identities.yaml", folder / "identities.yaml")
    await file.reload()
    assert file.problems == ()


async def test_who_is_out_is_out_whatever_else_does_not_fit(folder: Path) -> None:
    """A host of the lab logs in as alice, and no segment is for bob any more: both may be, and be put in force."""
    file, used = watched(folder)
    edit(folder, "alice: {", "alice: {disabled: true, ")
    edit(folder, "groups: [staff], password", "groups: [nobody], password")
    assert await file.reload()
    assert used[0].is_disabled("user", "alice")


def test_times_of_a_segment_that_the_policy_has_not_are_an_error(folder: Path) -> None:
    (folder / "sources.yaml").write_text("sessions: {segments: {vistors: {lifetime: 1m}}}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"sessions\.segments\.vistors: .*did you mean 'visitors'"):
        load_topology(folder)


async def test_a_policy_that_breaks_its_own_invariant_is_not_put_in_force(folder: Path) -> None:
    """However it is broken, and by whichever rule; the old one stays, and the problem says by whom and by what."""
    path = folder / "policy.yaml"
    text = path.read_text(encoding="utf-8") + "tests:\n  - {never: any -> web, service: tcp/23}\n"
    path.write_text(text, encoding="utf-8")
    used: list[Policy] = []

    async def use(policy: Policy) -> None:
        used.append(policy)

    file = PolicyFile(load_topology(folder), use, lambda *_: None, lambda: 1000.0)
    assert not await file.reload()
    rule = "rules:\n  - {id: shell, from: [staff], to: [web], services: [tcp/20-30], when: {aal: 3}}\n"
    path.write_text(text.replace("rules:\n", rule), encoding="utf-8")
    with pytest.raises(InputError, match=r"never any -> web tcp/23: rule shell allows .* for example somebody with"):
        await file.reload()
    assert used == []
    path.write_text(text.replace("rules:\n", rule.replace("20-30", "24-30")), encoding="utf-8")
    assert await file.reload()
    assert len(used) == 1


def refused_by(work: Callable[..., object]) -> Callable[..., Awaitable[object]]:
    """In the place of a process: one that ends without an answer."""

    async def broken(*_: object) -> object:
        return await in_process(work)

    return broken


def die() -> None:
    os._exit(1)


async def test_a_large_file_is_read_by_a_process_with_the_same_outcome(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zethane.app.reload.SMALL", 0)
    used: list[Policy] = []

    async def use(policy: Policy) -> None:
        used.append(policy)

    file = PolicyFile(load_topology(folder), use, lambda *_: None, lambda: 1000.0)
    assert not await file.reload()
    directory, directories = watched(folder)
    path = folder / "policy.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "# another version\n", encoding="utf-8")
    assert await file.reload()
    assert used == [load_policy(folder)]
    path.write_text(text + "x: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"policy\.yaml"):
        await file.reload()
    assert await directory.reload()
    assert directories == [load_directory(folder)]


async def test_a_process_that_breaks_replaces_nothing_and_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zethane.app.reload.SMALL", 0)
    monkeypatch.setattr("zethane.app.reload.in_process", refused_by(die))
    used: list[Policy] = []
    refused: list[str] = []

    async def use(policy: Policy) -> None:
        used.append(policy)

    file = PolicyFile(load_topology(folder), use, lambda _, why: refused.append(why), lambda: 1000.0)
    with (folder / "policy.yaml").open("a", encoding="utf-8") as stream:
        stream.write("# another version\n")
    with pytest.raises(InputError, match="ended without an answer"):
        await file.reload()
    assert used == []
    assert len(refused) == 1
    assert "ended without an answer" in refused[0]
    assert file.problems
    monkeypatch.undo()
    assert await file.reload()
    assert file.problems == ()
    assert len(used) == 1
