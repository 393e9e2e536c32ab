"""Which provider there is, what it takes from the environment, and what it says of what is missing."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.provider import ModelAccess, ModelChoice, Provider
from pytest_execgo.providers import catalogue
from pytest_execgo.providers.mock import mock_provider
from pytest_execgo.providers.openai import openai_provider
from pytest_execgo.wiring.options import effective
from pytest_execgo.wiring.providers import check_provider, make_provider
from pytest_execgo.wiring.settings import Settings

KEY = "sk-canary-5521"
FIXTURES = "http://127.0.0.1:4000/"


def settings(**given: str) -> Settings:
    return Settings.parse(effective({name.replace("_", "-"): value for name, value in given.items()}, {}, {}), Path("/p"))


def openai(**environ: str) -> ModelAccess:
    return openai_provider(ModelChoice("m"), {"OPENAI_API_KEY": KEY, **environ}, "").access("s", "f", 7)


def refusal(**environ: str) -> UsageError:
    with pytest.raises(UsageError) as refused:
        openai(**environ)
    return refused.value


def test_live_planning_without_a_provider_is_told_of_both() -> None:
    for ask in (lambda: make_provider(settings(), {}, FIXTURES), lambda: check_provider(settings(), {})):
        with pytest.raises(UsageError, match="needs a provider") as refused:
            ask()
        assert "--execgo-provider openai" in refused.value.hint
        assert "--execgo-provider mock" in refused.value.hint


def test_an_unknown_provider_gets_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="unknown provider 'opnai'") as refused:
        check_provider(settings(provider="opnai"), {})
    assert "did you mean 'openai'?" in refused.value.hint


def test_the_scripted_model_is_where_the_fixtures_service_has_it() -> None:
    provider: Provider = make_provider(settings(provider="mock", temperature="0.5"), {}, FIXTURES)
    assert (provider.name, "scripted model" in provider.label) == ("mock", True)
    access = provider.access("codegen_exec", "crewai", 7)
    assert access.base_url == "http://127.0.0.1:4000/model/codegen_exec/crewai/7/v1"
    assert (access.model, access.profile.provider, access.profile.seed, access.profile.temperature) == (
        "scripted-planner",
        "mock",
        7,
        0.5,
    )
    assert not access.api_key
    assert provider.access("s", "somebody-elses", 1).base_url.endswith("/model/s/plain/1/v1")


def test_a_model_of_another_name_is_none_of_the_mocks() -> None:
    with pytest.raises(UsageError, match="'gpt' does not go with provider 'mock'"):
        check_provider(settings(provider="mock", model="gpt"), {})
    assert mock_provider(ModelChoice("scripted-planner"), {}, "")


def test_openai_takes_key_and_defaults() -> None:
    provider = make_provider(settings(provider="openai", model="gpt", max_tokens="9"), {"OPENAI_API_KEY": f" {KEY}\n"}, FIXTURES)
    access = provider.access("s", "f", 7)
    assert (access.base_url, access.api_key.reveal(), access.model) == ("https://api.openai.com/v1", KEY, "gpt")
    assert (access.profile.provider, access.profile.seed, access.profile.max_tokens, access.profile.timeout_ms) == (
        "openai",
        7,
        9,
        60_000,
    )
    assert access.headers == {}
    assert provider.label == "openai (gpt at api.openai.com)"


def test_openai_takes_address_model_and_ids_from_the_environment() -> None:
    named = {
        "OPENAI_BASE_URL": "http://[::1]:8000/api/v1/",
        "OPENAI_MODEL": "other",
        "OPENAI_ORG_ID": "o",
        "OPENAI_PROJECT_ID": "p",
    }
    assert openai(**named).base_url == "http://[::1]:8000/api/v1"
    assert openai(**named).headers == {"OpenAI-Organization": "o", "OpenAI-Project": "p"}
    assert openai(**named).model == "m", "what was chosen wins"
    provider = openai_provider(ModelChoice(), {"OPENAI_API_KEY": KEY, **named}, "")
    assert provider.access("s", "f", 1).model == "other"


def test_an_empty_variable_is_none() -> None:
    assert openai(OPENAI_BASE_URL=" ", OPENAI_ORG_ID="").base_url == "https://api.openai.com/v1"


@pytest.mark.parametrize("key", ["", "  \n"])
def test_a_missing_key_is_told_with_its_variable(key: str) -> None:
    assert "OPENAI_API_KEY" in refusal(OPENAI_API_KEY=key).message
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set"):
        check_provider(settings(provider="openai", model="m"), {})


@pytest.mark.parametrize("key", [f"{KEY}\nX: y", f"{KEY} z", f'"{KEY}"', f"{KEY}ä", f"{KEY}\x00", f"{KEY}\\"])
def test_a_key_that_can_be_none_is_told_without_showing_it(key: str) -> None:
    refused = refusal(OPENAI_API_KEY=key)
    assert refused.code == "bad_key"
    assert KEY not in str(refused)


def test_a_missing_model_is_told_with_both_ways_to_name_it() -> None:
    with pytest.raises(UsageError) as refused:
        openai_provider(ModelChoice(), {"OPENAI_API_KEY": KEY}, "")
    assert "--execgo-model" in refused.value.hint
    assert "OPENAI_MODEL" in refused.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/v1",
        "http://",
        "https:///v1",
        "http://h:x/v1",
        "http://h:0/v1",
        "http://[::1/v1",
        "http://h/a b",
        "http://h/v1?a=1",
        "http://h/#x",
    ],
)
def test_an_address_that_can_t_be_used_is_shown(url: str) -> None:
    refused = refusal(OPENAI_BASE_URL=url)
    assert refused.code == "bad_base_url"
    assert url in refused.message
    assert "https://api.openai.com/v1" in refused.hint


@pytest.mark.parametrize("url", [f"https://user:{KEY}@h/v1", KEY, f"http://u:{KEY}@h:x/"])
def test_an_address_that_may_hold_a_secret_is_not_shown(url: str) -> None:
    assert KEY not in str(refusal(OPENAI_BASE_URL=url))


def test_a_header_that_can_be_none_is_told() -> None:
    assert "OPENAI_ORG_ID" in refusal(OPENAI_ORG_ID="a\r\nX: y").message


class Entry:
    """An entry point."""

    def __init__(self, name: str, found: Any) -> None:
        self.name, self.value, self._found = name, "pkg:make", found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def test_other_packages_add_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda group: [Entry("mine", mock_provider)])
    assert make_provider(settings(provider="mine"), {}, FIXTURES).access("s", "f", 1).base_url.startswith(FIXTURES)
    assert [*catalogue.load_providers()] == ["mock", "openai", "mine"]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (Entry("openai", mock_provider), "provider_twice"),
        (Entry("x", ImportError("no")), "provider_unloadable"),
        (Entry("a/b", 1), "bad_name"),
    ],
)
def test_a_provider_that_can_t_be_added_is_told(monkeypatch: pytest.MonkeyPatch, entry: Entry, code: str) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry])
    with pytest.raises(UsageError) as refused:
        catalogue.load_providers()
    assert refused.value.code == code
    assert entry.name in str(refused.value)
