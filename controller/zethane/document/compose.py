"""YAML text to a tree of nodes, within bounds.

The tree is built from the parser's events, one at a time and without recursion, so that size, depth and
aliases are checked before anything grows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import yaml

from zethane.document import scalar
from zethane.document.node import Node
from zethane.document.text import quote
from zethane.errors import InputError, Problem

MAX_TEXT = 4 * 1024 * 1024
"""Characters of a document; of its values, also with what aliases repeat."""

MAX_NODES = 400_000
"""Values of a document, keys and what aliases repeat included."""

MAX_DEPTH = 32
MAX_ALIASES = 256
MAX_PROBLEMS = 100
"""Problems that one error reports; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one text may hold: characters, values, and documents."""

    text: int
    nodes: int
    documents: int


_Loader: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_COLLECTION_TAGS = {
    yaml.MappingStartEvent: (None, "!", "tag:yaml.org,2002:map"),
    yaml.SequenceStartEvent: (None, "!", "tag:yaml.org,2002:seq"),
}


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been read yet."""

    node: Node
    anchor: str | None
    key: Node | None = None


@dataclass(slots=True)
class _Builder:
    file: str
    bounds: Bounds
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)
    roots: list[Node] = field(default_factory=list)
    nodes: int = 0
    characters: int = 0
    aliases: int = 0

    def feed(self, event: yaml.Event) -> None:
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self.start(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            done = self.stack.pop()
            self.finish(done.node, done.anchor)
        elif isinstance(event, yaml.ScalarEvent):
            self.finish(self.scalar(event), event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self.alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.document(event)

    def document(self, event: yaml.DocumentStartEvent) -> None:
        if len(self.roots) >= self.bounds.documents:
            most = self.bounds.documents
            raise self.stop(event, "expected a single document" if most == 1 else f"expected at most {most} documents")
        self.anchors.clear()  # YAML 1.2.2 §3.2.2.2: an anchor holds within its document

    def start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise self.stop(event, f"expected at most {MAX_DEPTH} levels of nesting")
        if event.tag not in _COLLECTION_TAGS[type(event)]:
            self.problem(event, "unknown tag; expected none")
        node = self.node(event)
        if isinstance(event, yaml.MappingStartEvent):
            node.members = {}
        else:
            node.items = []
        self.count(event, 1)
        self.stack.append(_Open(node, event.anchor))

    def scalar(self, event: yaml.ScalarEvent) -> Node:
        self.count(event, 1, len(event.value))
        node = self.node(event)
        node.scalar = event.value
        node.characters = len(event.value)
        if self.expects_key():
            return node
        try:
            if event.tag is not None:
                node.scalar = scalar.tagged(event.tag, event.value)
            elif event.implicit[0]:
                node.scalar = scalar.plain(event.value)
        except ValueError as error:
            self.problem(event, str(error))
        return node

    def alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor or ""
        node = self.anchors.get(name)
        if node is None:
            raise self.stop(event, f"expected an anchor before its alias {quote(name)}")
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise self.stop(event, f"expected at most {MAX_ALIASES} aliases")
        if len(self.stack) + node.height >= MAX_DEPTH:
            raise self.stop(event, f"expected at most {MAX_DEPTH} levels of nesting")
        self.count(event, node.size, node.characters)
        self.finish(node, None)

    def finish(self, node: Node, anchor: str | None) -> None:
        """Hang a complete node where it belongs."""
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.roots.append(node)
            return
        parent = self.stack[-1]
        if parent.node.items is not None:
            parent.node.items.append(node)
        elif parent.key is None:
            parent.key = node
            parent.node.adopt(node)
            return
        else:
            self.member(parent, parent.key, node)
            parent.key = None
        parent.node.adopt(node)

    def member(self, parent: _Open, key: Node, node: Node) -> None:
        members = parent.node.members
        if members is None or not isinstance(key.scalar, str) or key.items is not None or key.members is not None:
            self.add(key.line, key.column, "expected a word as the key")
        elif key.scalar in members:
            first = members[key.scalar][0].line
            self.add(key.line, key.column, f"key {quote(key.scalar)} is already on line {first}")
        else:
            members[key.scalar] = (key, node)

    def expects_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].node.members is not None and self.stack[-1].key is None

    def count(self, event: yaml.Event, nodes: int, characters: int = 0) -> None:
        self.nodes += nodes
        self.characters += characters
        if self.characters > self.bounds.text:
            raise self.stop(event, f"expected at most {self.bounds.text} characters, with what aliases repeat")
        if self.nodes > self.bounds.nodes:
            raise self.stop(event, f"expected at most {self.bounds.nodes} values")

    def node(self, event: yaml.Event) -> Node:
        return Node(*_position(event.start_mark))

    def problem(self, event: yaml.Event, message: str) -> None:
        self.add(*_position(event.start_mark), message)

    def add(self, line: int, column: int, message: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(self.file, message, line, column))

    def stop(self, event: yaml.Event, message: str) -> InputError:
        return InputError([*self.problems, Problem(self.file, message, *_position(event.start_mark))])


def compose(text: str, file: str) -> Node:
    """The tree of the text's only document. An empty document is an empty value.

    Raises InputError for what is no YAML, breaks a bound, names a key twice or holds an unknown tag.
    """
    roots = compose_all(text, file, Bounds(MAX_TEXT, MAX_NODES, 1))
    return roots[0] if roots else Node(1, 1)


def compose_all(text: str, file: str, bounds: Bounds) -> list[Node]:
    """The trees of all documents of the text, in order.

    Raises InputError for what is no YAML, breaks a bound, names a key twice or holds an unknown tag.
    """
    _check_text(text, file, bounds)
    builder = _Builder(file, bounds)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        raise InputError([*builder.problems, _syntax(error, file)]) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # ReaderError has no mark; PyYAML's own reader fails with ValueError on escapes beyond Unicode.
        raise InputError([Problem(file, f"no YAML: {quote(str(error).splitlines()[0])}")]) from None
    if builder.problems:
        raise InputError(builder.problems)
    return builder.roots


def _check_text(text: str, file: str, bounds: Bounds) -> None:
    if len(text) > bounds.text:
        raise InputError([Problem(file, f"expected at most {bounds.text} characters")])
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise InputError([Problem(file, "expected Unicode text, found half of a surrogate pair", line)]) from None


class _Mark(Protocol):
    """PyYAML's mark, or libyaml's: both count from 0."""

    line: int
    column: int


def _position(mark: _Mark | None) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _syntax(error: yaml.MarkedYAMLError, file: str) -> Problem:
    what = error.problem or error.context or "cannot be read"
    if what.startswith("mapping values are not allowed"):
        what += '; text with ": " in it needs quotes'
    return Problem(file, f"no YAML: {what}", *_position(error.problem_mark or error.context_mark))
