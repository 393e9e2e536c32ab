"""What every document's model has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Document(BaseModel):
    """A shape read from or written to a file or the wire: unknown fields and lax conversions (`True` as 1) are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")]
"""A name that may become part of a path: letters, digits, `_`, `-`, `.`."""

Millis = Annotated[int, Field(ge=0, le=86_400_000)]
"""A duration in milliseconds, at most a day."""
