"""YAML text to validated models, with the position of every value. Pure."""

from zethane.document.compose import MAX_PROBLEMS
from zethane.document.findings import Findings
from zethane.document.model import Model
from zethane.document.node import Place
from zethane.document.parse import Document, parse
from zethane.document.text import closest, count, quote, some

__all__ = ["MAX_PROBLEMS", "Document", "Findings", "Model", "Place", "closest", "count", "parse", "quote", "some"]
