"""http: one request, its answer's status and body."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urljoin, urlsplit

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from pytest_execgo.kernel.executors.executor import DEADLINE
from pytest_execgo.kernel.executors.tools.tool import ToolContext, ToolError, parameters
from pytest_execgo.kernel.executors.web import Answer, Web, WebError, in_go_words
from pytest_execgo.kernel.golang import kinds
from pytest_execgo.kernel.golang.text import decode_utf8, json_object, quote

BODY_MAX = 1 << 20
_MAX_REDIRECTS = 10
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_FORBIDDEN_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_OURS_TO_SET = ("host", "content-length", "transfer-encoding", "connection")
_PARAMS = kinds.Struct(
    "HTTPParams",
    "executor.HTTPParams",
    {
        "url": kinds.String(),
        "method": kinds.String(),
        "headers": kinds.StringMap(kinds.String(), "map[string]string"),
        "body": kinds.String(),
    },
)


Allowed = frozenset[tuple[str, int]] | None  # the (host, port) pairs that may be reached; None: all


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    allowed: Allowed


async def http(params: str | None, context: ToolContext) -> str:
    """Send a request, follow up to ten redirects, return `{"body", "status_code"}`; a 4xx or 5xx is an answer like any other."""
    given = parameters("http", params, _PARAMS)
    url: str = given.get("url") or ""
    if not url:
        raise ToolError("url is required")
    body: str = given.get("body") or ""
    headers = {name: value or "" for name, value in (given.get("headers") or {}).items()}
    allowed = context.settings.policy.http_allow
    request = _Request(given.get("method") or "GET", url, headers, body.encode() if body else None, allowed)
    _check(request)
    try:
        async with asyncio.timeout(context.timeout):  # the thread keeps the time, too, but can't while it resolves a name
            answer = await context.threads.run(partial(_exchange, context.web, request, context.timeout))
    except TimeoutError as error:
        reason = in_go_words(request.method, request.url, DEADLINE)
        raise ToolError(f"http request failed: {reason}", late=True) from error
    return json_object(status_code=answer.status, body=decode_utf8(answer.body))


def _check(request: _Request) -> None:
    """Refuse what Go's client refuses before it connects."""
    if not _TOKEN.match(request.method):
        raise ToolError(f"create request: net/http: invalid method {quote(request.method)}")
    url = request.url
    reason = ""
    if _CONTROL.search(url):
        reason = "net/url: invalid control character in URL"
    elif url.startswith(":"):
        reason = "missing protocol scheme"
    elif bad := _BAD_ESCAPE.search(url.partition("?")[0]):
        reason = f"invalid URL escape {quote(url[bad.start() : bad.start() + 3])}"
    else:
        reason = _bad_host(url)
    if reason:
        raise ToolError(f"create request: parse {quote(url)}: {reason}")
    for name, value in request.headers.items():
        if not _TOKEN.match(name):
            raise _refused(request, f"net/http: invalid header field name {quote(name)}")
        if _FORBIDDEN_IN_VALUE.search(value):
            raise _refused(request, f"net/http: invalid header field value for {quote(name)}")
    _check_target(request)


def _bad_host(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "missing ']' in host"
    if " " in parts.netloc:
        return 'invalid character " " in host name'
    port = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    return f"invalid port {quote(':' + port)} after host" if port and not port.isdecimal() else ""


def _check_target(request: _Request) -> None:
    parts = urlsplit(request.url)
    if parts.scheme not in ("http", "https"):
        raise _refused(request, f"unsupported protocol scheme {quote(parts.scheme)}")
    if not parts.hostname:
        raise _refused(request, "http: no Host in request URL")
    port = parts.netloc.rpartition("@")[2].rpartition("]")[2].rpartition(":")[2]
    if port.isdecimal() and int(port) > 65535:
        raise _refused(request, f"dial tcp: address {port}: invalid port")
    if request.allowed is not None:
        _check_allowed(request, request.allowed)


def _check_allowed(request: _Request, allowed: frozenset[tuple[str, int]]) -> None:
    """Refuse a URL that is not, to the letter, one of the allowed pairs, or that two parsers read differently."""
    parts = urlsplit(request.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    named = f"{parts.hostname}:{port}"
    try:
        other = parse_url(request.url)
    except LocationParseError as error:
        raise _refused(request, f"{named} is not allowed (the address can't be read twice alike)") from error
    same = ((other.host or "").strip("[]").lower(), other.port or port) == (parts.hostname, port)
    if "@" in parts.netloc or "\\" in request.url or not same or (parts.hostname, port) not in allowed:
        raise _refused(request, f"{named} is not allowed (-http-allow names what is)")


def _refused(request: _Request, reason: str) -> ToolError:
    return ToolError(f"http request failed: {in_go_words(request.method, request.url, reason)}")


def _exchange(web: Web, request: _Request, timeout: float | None) -> Answer:
    """Send a request and follow its redirects; runs in a thread."""
    deadline = None if timeout is None else time.monotonic() + timeout
    for _ in range(_MAX_REDIRECTS):
        answer = _send(web, request, deadline)
        location = answer.headers.get("location")
        if answer.status not in (301, 302, 303, 307, 308) or not location:
            return answer
        request = _redirected(request, answer.status, location)
    raise _refused(request, f"stopped after {_MAX_REDIRECTS} redirects")


def _send(web: Web, request: _Request, deadline: float | None) -> Answer:
    headers = {"User-Agent": "pytest-execgo", "Accept-Encoding": "identity"}
    for name, value in request.headers.items():
        if name.lower() not in _OURS_TO_SET:
            headers[name.title()] = value.encode().decode("latin-1")  # http.client sends Latin-1: these are the UTF-8 bytes
    timeout = None if deadline is None else max(deadline - time.monotonic(), 0.000_001)
    try:
        return web.request(request.method, request.url, headers=headers, body=request.body, timeout=timeout, limit=BODY_MAX)
    except WebError as error:
        if error.reading:
            raise ToolError(f"read response: {error}", late=error.late) from error
        reason = in_go_words(request.method, request.url, str(error))
        raise ToolError(f"http request failed: {reason}", late=error.late) from error
    except ValueError as error:  # a URL that passed our checks but not the library's
        raise _refused(request, str(error)) from error


def _redirected(request: _Request, status: int, location: str) -> _Request:
    target = urljoin(request.url, location)
    if status in (307, 308):
        following = replace(request, url=target)
    else:
        method = "HEAD" if request.method == "HEAD" else "GET"
        following = replace(request, method=method, url=target, body=None)
    if urlsplit(target).netloc != urlsplit(request.url).netloc:  # secrets stay with the host that they were meant for
        kept = {name: value for name, value in request.headers.items() if name.lower() not in ("authorization", "cookie")}
        following = replace(following, headers=kept)
    _check_target(following)
    return following
