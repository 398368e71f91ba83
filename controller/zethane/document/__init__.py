"""YAML text to validated models, with the position of every value. Pure."""

from zethane.document.model import Model
from zethane.document.node import Place
from zethane.document.parse import Document, parse
from zethane.document.text import closest, quote

__all__ = ["Document", "Model", "Place", "closest", "parse", "quote"]
