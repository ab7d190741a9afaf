"""What a page may send: small JSON objects of known fields."""

from __future__ import annotations

from typing import Annotated, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from catalog.errors import Refusal

Annotator = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$"
    ),
]


class Asked(BaseModel):
    """annotator: who votes, as they call themselves."""

    model_config = ConfigDict(extra="forbid")
    annotator: Annotator


class Ballot(Asked):
    vote: UUID
    battle: UUID
    answer: str
    latency_ms: int = Field(0, ge=0, le=86_400_000)


class Undoing(Asked):
    vote: UUID
    undoes: UUID


class Curious(Asked):
    vote: UUID


class Looking(BaseModel):
    """annotator: as above, or not given yet."""

    model_config = ConfigDict(extra="forbid")
    annotator: Annotator | None = None
    battle: str = Field(pattern=r"^(rule-)?[0-9a-f-]{32,36}$")


Body = TypeVar("Body", bound=BaseModel)


async def body_of(request: web.Request, kind: type[Body]) -> Body:
    """Raises Refusal in one line."""
    if request.content_type != "application/json":  # what a form of another site cannot send
        raise Refusal("send application/json")
    try:
        return kind.model_validate_json(await request.read())
    except ValidationError as error:
        [first, *_] = error.errors()
        raise Refusal(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
