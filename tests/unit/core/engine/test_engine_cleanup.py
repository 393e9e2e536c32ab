from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import docker
import pytest
import requests

from pytest_execgo.core.engine import cleanup
from pytest_execgo.core.engine.cleanup import remove_labelled, remove_leftovers
from pytest_execgo.core.engine.ownership import OWNER_LABEL, owner_labels

LIVE = owner_labels()
DEAD = {**LIVE, f"{OWNER_LABEL}.started": "1"}
NO_ANSWER = requests.ReadTimeout("no answer within 60 s")


def refusal(status: int, said: str) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    kind = docker.errors.NotFound if status == 404 else docker.errors.APIError
    return kind(said, response=response, explanation=said)


class FakeApi:
    """Containers and networks by name, with their labels.

    `trouble` is what removing one raises, each once; asked to pause what is `stuck` the engine does not answer.
    """

    def __init__(self, containers: Mapping[str, Mapping[str, str]], networks: Mapping[str, Mapping[str, str]]) -> None:
        self.api = self
        self.there = {"containers": containers, "networks": networks}
        self.paused: list[str] = []
        self.removed: list[str] = []
        self.trouble: dict[str, list[Exception]] = {}
        self.stuck = ""

    def containers(self, *, all: bool, filters: dict[str, str]) -> list[dict[str, Any]]:
        assert all
        return [{"Id": name, "Names": [f"/{name}"], "Labels": labels} for name, labels in self._found("containers", filters)]

    def networks(self, *, filters: dict[str, str]) -> list[dict[str, Any]]:
        return [{"Id": name, "Name": name, "Labels": labels} for name, labels in self._found("networks", filters)]

    def _found(self, kind: str, filters: dict[str, str]) -> list[tuple[str, Mapping[str, str]]]:
        name, _, value = filters["label"].partition("=")
        return [one for one in self.there[kind].items() if name in one[1] and value in ("", one[1][name])]

    def pause(self, name: str) -> None:
        assert not self.removed, "a service could see that another one has gone"
        if name == self.stuck:
            raise NO_ANSWER
        self.paused.append(name)
        if name == "dead":
            raise refusal(409, "it is not running")

    def remove_container(self, name: str, *, force: bool, v: bool) -> None:
        assert force
        assert v
        self.remove_network(name)

    def remove_network(self, name: str) -> None:
        if self.trouble.get(name):
            raise self.trouble[name].pop(0)
        self.removed.append(name)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    monkeypatch.setattr(cleanup, "_REMOVAL_TIMEOUT", 30)
    containers = {"live": LIVE, "dead": DEAD, "foreign": {"some": "label"}, "half": {OWNER_LABEL: "somebody"}}
    return FakeApi(containers, {"live-net": LIVE, "dead-net": DEAD, "bridge": {}})


def test_only_what_a_dead_owner_left_is_removed_and_its_network_last(engine: FakeApi) -> None:
    assert remove_leftovers(engine) == ["dead", "dead-net"]
    assert engine.removed == ["dead", "dead-net"]


def test_one_owners_things_are_removed_alive_or_not(engine: FakeApi) -> None:
    assert remove_labelled(engine, OWNER_LABEL, "somebody") == ["half"]
    engine.removed.clear()
    assert remove_labelled(engine, OWNER_LABEL, LIVE[OWNER_LABEL]) == ["live", "dead", "live-net", "dead-net"]
    assert engine.paused == ["live", "dead"]


@pytest.mark.parametrize(
    "trouble",
    [
        [refusal(404, "no such container")],
        [refusal(409, "removal of container dead is already in progress"), refusal(404, "no such container")],
    ],
    ids=["gone", "being_removed"],
)
def test_what_somebody_else_removes_meanwhile_is_gone_too(engine: FakeApi, trouble: list[docker.errors.APIError]) -> None:
    engine.trouble["dead"] = trouble
    assert remove_leftovers(engine) == ["dead", "dead-net"]
    assert engine.removed == ["dead-net"]


def test_a_network_is_removed_once_its_last_container_has_left_it(engine: FakeApi) -> None:
    engine.trouble["dead-net"] = [refusal(403, "network dead-net has active endpoints")]
    assert remove_leftovers(engine) == ["dead", "dead-net"]


def test_a_network_that_somebody_else_uses_stays(engine: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "_REMOVAL_TIMEOUT", 0.3)
    engine.trouble["dead-net"] = [refusal(403, "network dead-net has active endpoints")] * 1000
    assert remove_leftovers(engine) == ["dead"]


FAILURES = pytest.mark.parametrize("failure", [refusal(500, "disk is full"), NO_ANSWER], ids=["refused", "no_answer"])


@FAILURES
def test_leftovers_that_the_engine_fails_at_keep_nobody_from_starting(engine: FakeApi, failure: Exception) -> None:
    engine.trouble["dead"] = [failure]
    assert remove_leftovers(engine) == ["dead-net"]


@FAILURES
def test_what_the_engine_fails_at_is_told_to_whom_it_belongs_once_all_else_has_gone(engine: FakeApi, failure: Exception) -> None:
    engine.trouble["live"] = [failure]
    with pytest.raises(type(failure)) as raised:
        remove_labelled(engine, OWNER_LABEL, LIVE[OWNER_LABEL])
    assert raised.value is failure
    assert engine.paused == ["live", "dead"]
    assert engine.removed == ["dead", "live-net", "dead-net"]


def test_one_that_can_not_be_paused_leaves_no_other_paused(engine: FakeApi) -> None:
    engine.stuck = "live"
    assert remove_labelled(engine, OWNER_LABEL, LIVE[OWNER_LABEL]) == ["live", "dead", "live-net", "dead-net"]
    assert engine.paused == ["dead"]
