from __future__ import annotations

import sys

import docker
import pytest
import requests

from pytest_execgo.core.engine.connection import EngineError, EngineMissing, connect, engine_call


def test_without_its_package_an_engine_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker.constants", None)
    with pytest.raises(EngineMissing, match="the package docker, which speaks to container engines, is not installed"):
        connect()


@pytest.mark.parametrize(
    ("raised", "said", "status"),
    [
        (docker.errors.APIError("x", response=None, explanation="no such thing"), "can't do it: no such thing", None),
        (requests.ConnectionError("cut"), "could not be asked to do it: cut", None),
        (docker.errors.DockerException("odd"), "could not be asked to do it: odd", None),
    ],
)
def test_what_an_engine_refuses_is_one_plain_error(raised: Exception, said: str, status: int | None) -> None:
    with pytest.raises(EngineError, match=said) as seen, engine_call("do it"):
        raise raised
    assert seen.value.status is status
    assert seen.value.__cause__ is raised


def test_the_status_of_a_refusal_is_known() -> None:
    response = requests.Response()
    response.status_code = 409
    with pytest.raises(EngineError) as seen, engine_call("do it"):
        raise docker.errors.APIError("x", response=response, explanation="it is busy")
    assert seen.value.status == 409


def test_our_own_mistakes_are_not_the_engines() -> None:
    with pytest.raises(KeyError), engine_call("do it"):
        raise KeyError("mine")
