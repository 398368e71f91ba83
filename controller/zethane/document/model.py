"""The base of every model of a file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A frozen model that knows all of its keys; its errors never repeat what the file held."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
