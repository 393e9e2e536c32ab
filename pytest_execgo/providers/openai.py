"""Any service that speaks OpenAI's API: OpenAI itself, a company's gateway, a model server on one's own machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.provider import ModelAccess, ModelChoice, Secret

NAME = "openai"
DEFAULT_URL = "https://api.openai.com/v1"
_HEADERS = {"OPENAI_ORG_ID": "OpenAI-Organization", "OPENAI_PROJECT_ID": "OpenAI-Project"}
_PRINTABLE = re.compile(r"[\x21-\x7e]+")  # what can stand in a header, and looks the same in JSON but for these two:
_ESCAPED = re.compile(r'["\\]')


@dataclass(frozen=True, slots=True)
class OpenAIProvider:
    """A service at `base_url`, and the model that is asked of it."""

    choice: ModelChoice
    base_url: str
    model: str
    api_key: Secret
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    name: str = NAME

    @property
    def label(self) -> str:
        """What people are told."""
        return f"{NAME} ({self.model} at {urlsplit(self.base_url).netloc})"

    def access(self, scenario: str, framework: str, seed: int) -> ModelAccess:
        """Tell where the model is; the same place for every planning."""
        return ModelAccess(self.base_url, self.choice.profile(NAME, self.model, seed), self.api_key, self.headers)


def openai_provider(choice: ModelChoice, environ: Mapping[str, str], fixtures_url: str) -> OpenAIProvider:
    """Make the provider of `OPENAI_API_KEY`, `OPENAI_BASE_URL`, and `OPENAI_MODEL` where the choice names no model.

    `UsageError` names the variable that is missing or can't be used, never its value where that may be a secret.
    """
    key = Secret(environ.get("OPENAI_API_KEY", "").strip())
    if not key:
        raise UsageError(
            "key_missing",
            "provider 'openai' needs a key, and OPENAI_API_KEY is not set",
            "set OPENAI_API_KEY (any word will do for a server that asks for none), or use --execgo-provider mock",
        )
    if not _PRINTABLE.fullmatch(key.reveal()) or _ESCAPED.search(key.reveal()):
        raise UsageError(
            "bad_key", "OPENAI_API_KEY holds characters that no key has (blanks, quotes, …)", "set it to the key alone"
        )
    model = choice.model or environ.get("OPENAI_MODEL", "").strip()
    if not model:
        raise UsageError("model_missing", "provider 'openai' needs a model's name", "add --execgo-model NAME, or set OPENAI_MODEL")
    headers = {header: _header(name, environ[name]) for name, header in _HEADERS.items() if environ.get(name, "").strip()}
    return OpenAIProvider(choice, _base_url(environ.get("OPENAI_BASE_URL", "").strip() or DEFAULT_URL), model, key, headers)


def _header(name: str, text: str) -> str:
    if not _PRINTABLE.fullmatch(text.strip()):
        raise UsageError("bad_value", f"{name} holds characters that no header can", "set it to the id alone")
    return text.strip()


def _base_url(text: str) -> str:
    hint = f"write it like {DEFAULT_URL}"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and bool(_PRINTABLE.fullmatch(text))
    except ValueError:  # a port that is no number, brackets that don't match
        usable = False
    if "@" in text:  # a password may stand before it
        raise UsageError(
            "bad_base_url", "OPENAI_BASE_URL holds a user's name or password", f"{hint}; the key goes into OPENAI_API_KEY"
        )
    if not usable:  # what looks like no address at all may be a key in the wrong place, and isn't shown
        shown = f"{text[:200]!r} " if "://" in text else ""
        said = f"OPENAI_BASE_URL: {shown}is no http or https address that can be used"
        raise UsageError("bad_base_url", said, hint)
    if "?" in text or "#" in text:
        raise UsageError("bad_base_url", f"OPENAI_BASE_URL: {text[:200]!r} holds a query or a fragment (? or #)", hint)
    return text.rstrip("/")
