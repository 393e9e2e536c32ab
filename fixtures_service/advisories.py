"""The advisory feed: which versions of which package have a known weakness.

`{"schema": 1, "advisories": [{"id", "package", "ecosystem", "severity", "affected", "summary", "published",
"withdrawn"?}]}`. A version is affected when it lies in one interval of `affected`, from `introduced` (included; "0" is
the beginning) to `fixed` (excluded; null: there is no fix). Versions are those of PEP 440 in the PyPI ecosystem.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from fixtures_service.faults import IN_FORCE, InForce
from fixtures_service.injections import hostile
from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import dumps, read_json

FILE = "advisories.json"
_SEPARATORS = re.compile(r"[-_.]+")


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Interval(_Document):
    """Versions from `introduced` to below `fixed`; without a fix, all later ones."""

    introduced: str
    fixed: str | None


class Advisory(_Document):
    """One weakness of one package. A withdrawn one was a mistake and affects nothing."""

    id: str
    package: str
    ecosystem: str
    severity: Literal["low", "medium", "high", "critical"]
    affected: list[Interval]
    summary: str
    published: str
    withdrawn: str | None = None


class Feed(_Document):
    """The file behind the feed."""

    # "schema" is the field's name in the document; pydantic reserves it for a method of its own
    version: Literal[1]
    advisories: list[Advisory]


def normalized(package: str) -> str:
    """Return a package's name as PEP 503 compares it: lower case, runs of `-`, `_` and `.` as one `-`."""
    return _SEPARATORS.sub("-", package).lower()


def load_feed(folder: Path) -> Feed:
    """Read `advisories.json` of a folder; `UsageError` when it can't be read, or isn't a feed."""
    path = folder / FILE
    document = read_json(path)
    if not isinstance(document, dict):
        raise UsageError("bad_feed", f"{path}: $: must be an object with schema and advisories")
    try:
        return Feed.model_validate({("version" if name == "schema" else name): item for name, item in document.items()})
    except ValidationError as error:
        raise UsageError("bad_feed", f"{path}: {HttpError.from_validation(error).message}") from None


class Advisories:
    """The feed's endpoint."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._whole = self._render(feed.advisories)

    async def show(self, request: Request) -> Response:
        """Answer the feed, or (`?package=`, in any spelling) what concerns one package, with an `ETag`."""
        package = request.query_params.get("package")
        now: InForce | None = request.scope.get(IN_FORCE)
        inject = now.mode.inject if now is not None else False
        shown = self._chosen(package, inject)
        body = self._whole if shown is self.feed.advisories else self._render(shown)
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"etag": tag, "cache-control": "no-cache"}
        known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
        if tag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        if now is not None and inject and shown:
            now.hits["inject"] += 1
        return Response(body, headers=headers, media_type="application/json")

    def _chosen(self, package: str | None, inject: bool | str) -> list[Advisory]:
        """Return the advisories of a package (None: all), with hostile texts in their summaries if `inject` asks for them."""
        chosen = self.feed.advisories
        if inject:
            chosen = [
                one.model_copy(update={"summary": f"{one.summary} {hostile(number, inject)}"}) for number, one in enumerate(chosen)
            ]
        if package is not None:
            wanted = normalized(package)
            chosen = [one for one in chosen if normalized(one.package) == wanted]
        return chosen

    def _render(self, advisories: list[Advisory]) -> bytes:
        shown = [one.model_dump(exclude_unset=True) for one in advisories]
        return dumps({"schema": self.feed.version, "advisories": shown}).encode()


def routes(feed: Feed) -> list[BaseRoute]:
    """Return the feed's routes."""
    return [Route("/advisories", Advisories(feed).show, methods=["GET"])]
