from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.harness.service_options import ServiceOptions
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Service

FOLDER = Path("/stacks/one")
URLS = {Service.KERNEL: "http://kernel:1", Service.RUNTIME: "http://runtime:2", Service.FIXTURES: "http://fixtures:3"}


def told(settings: StackSettings | None = None, *foreign: Service, token: str | None = "secret") -> ServiceOptions:
    hosts = ("127.0.0.1:9",)
    return ServiceOptions(settings or StackSettings(), FOLDER, token, URLS, hosts, frozenset(foreign))


def test_every_service_has_a_data_folder_of_its_own() -> None:
    for service in Service:
        options = told().options(service)
        assert options[options.index("-data-dir") + 1] == f"/stacks/one/{service}-data"


def test_our_kernel_is_told_all_of_it() -> None:
    settings = StackSettings(
        file_roots=(Path("/out"),),
        via={Service.FIXTURES: "http://172.17.0.1:7/"},
        kernel_hosts=("172.17.0.1:8",),
        max_concurrency=3,
        shutdown_timeout=4,
    )
    options = told(settings).options(Service.KERNEL)
    pairs = dict(zip(options[::2], options[1::2], strict=True))
    assert pairs == {
        "-data-dir": "/stacks/one/kernel-data",
        "-max-concurrency": "3",
        "-file-root": "/out,/stacks/one",
        "-http-allow": "fixtures:3,172.17.0.1:7",
        "-script-policy": "allow",
        "-shutdown-timeout": "4",
        "-history": "/stacks/one/kernel-history.jsonl",
    }
    assert told(settings).environment(Service.KERNEL) == {
        "EXECGO_RUNTIME_URL": "http://runtime:2",
        "EXECGO_ALLOWED_HOSTS": "127.0.0.1:9,172.17.0.1:8",
        "EXECGO_TOKEN": "secret",
        "EXECGO_RUNTIME_TOKEN": "secret",
    }


def test_without_a_history_none_is_asked_for() -> None:
    assert "-history" not in told(StackSettings(history=False)).options(Service.KERNEL)


def test_the_kernel_is_led_through_a_link() -> None:
    settings = StackSettings(via={Service.RUNTIME: "http://172.17.0.1:7/"})
    assert told(settings).environment(Service.KERNEL)["EXECGO_RUNTIME_URL"] == "http://172.17.0.1:7"


def test_tokens_are_in_the_environment_only_and_only_of_guarded_stacks() -> None:
    names = {Service.RUNTIME: "EXECGO_RUNTIME_TOKEN", Service.FIXTURES: "EXECGO_FIXTURES_TOKEN"}
    for service, name in names.items():
        assert told().environment(service) == {name: "secret"}
        assert told(token=None).environment(service) == {}
    assert not any("secret" in " ".join(told().options(service)) for service in Service)


def test_somebodys_kernel_gets_execgos_own_options_and_no_token() -> None:
    foreign = told(StackSettings(shutdown_timeout=4), Service.KERNEL)
    options = ["-data-dir", "/stacks/one/kernel-data", "-max-concurrency", "10", "-shutdown-timeout", "4"]
    assert foreign.options(Service.KERNEL) == options
    assert foreign.environment(Service.KERNEL) == {"EXECGO_RUNTIME_URL": "http://runtime:2"}
    assert foreign.environment(Service.RUNTIME) == {}  # which that kernel has to reach
    assert foreign.environment(Service.FIXTURES) == {"EXECGO_FIXTURES_TOKEN": "secret"}


def test_somebodys_runtime_is_told_nothing() -> None:
    foreign = told(None, Service.RUNTIME)
    assert foreign.options(Service.RUNTIME) == []
    assert foreign.environment(Service.RUNTIME) == {}
    assert foreign.environment(Service.KERNEL)["EXECGO_TOKEN"] == "secret"


@pytest.mark.parametrize("service", list(Service))
def test_what_the_settings_add_wins(service: Service) -> None:
    settings = StackSettings(extra_env={service: {"EXECGO_TOKEN": "theirs", "MORE": "1"}})
    env = told(settings).environment(service)
    assert (env["EXECGO_TOKEN"], env["MORE"]) == ("theirs", "1")
