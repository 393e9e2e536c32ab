from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pytest_execgo.core.errors import StackError, Unsupported, UsageError
from pytest_execgo.harness.containers import ContainerStack
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.external import ExternalStack
from pytest_execgo.harness.native import NativeStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Capability, Service, Stack

URL = "http://127.0.0.1:1"


def executable(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_each_backend_is_a_stack(tmp_path: Path) -> None:
    stacks: list[Stack] = [
        EmbeddedStack(tmp_path),
        NativeStack(executable(tmp_path / "execgo"), tmp_path),
        ExternalStack(URL, URL, URL),
        ContainerStack(tmp_path),
    ]
    assert [stack.backend for stack in stacks] == ["embedded", "native", "external", "containers"]


@pytest.mark.parametrize("kind", [EmbeddedStack, ContainerStack])
def test_nothing_is_anywhere_before_up(tmp_path: Path, kind: type[EmbeddedStack] | type[ContainerStack]) -> None:
    stack = kind(tmp_path / "stack")
    acts: list[Callable[[], object]] = [stack.endpoints]
    acts += [partial(act, Service.RUNTIME) for act in (stack.kill, stack.restart, stack.revive, stack.pause, stack.resume)]
    for act in acts:
        with pytest.raises(StackError, match=f"the {stack.backend} stack is not up"):
            act()
    assert stack.status() == []
    assert stack.logs(Service.KERNEL) == ""
    stack.down()
    assert not (tmp_path / "stack").exists()


def test_each_stack_has_a_token_of_its_own(tmp_path: Path) -> None:
    for kind in (EmbeddedStack, ContainerStack):
        first, second = kind(tmp_path), kind(tmp_path)
        assert first.token
        assert first.token != second.token
        assert kind(tmp_path, StackSettings(token="given")).token == "given"
        assert kind(tmp_path, StackSettings(guarded=False, token="given")).token is None


def test_limit_is_refused_with_a_reason(tmp_path: Path) -> None:
    stack = EmbeddedStack(tmp_path)
    assert Capability.LIMIT not in stack.capabilities
    with pytest.raises(Unsupported, match="embedded backend can't limit the kernel"):
        stack.limit(Service.KERNEL, cpu=1)


def test_an_engine_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_execgo.harness.containers.connect", lambda: None)
    monkeypatch.setattr("pytest_execgo.harness.containers.engine_is_here", lambda: False)
    monkeypatch.setattr("pytest_execgo.harness.containers.engine_options", lambda: {"base_url": "tcp://192.0.2.1:2375"})
    with pytest.raises(StackError, match=r"engine at tcp://192\.0\.2\.1:2375 can't see this machine's files"):
        ContainerStack(tmp_path / "stack").up()
    assert not (tmp_path / "stack").exists()


@pytest.mark.parametrize("kind", ["missing", "folder", "not_executable"])
def test_a_binary_that_can_not_be_run_is_the_users_mistake(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "execgo"
    if kind == "folder":
        path.mkdir()
    elif kind == "not_executable":
        path.write_text("")
    reason = {"missing": "does not exist", "folder": "is a folder", "not_executable": "is not executable"}[kind]
    with pytest.raises(UsageError, match=reason) as raised:
        NativeStack(path, tmp_path)
    assert "--execgo-bin" in raised.value.hint


@pytest.mark.parametrize(
    ("urls", "option"),
    [
        ((None, URL, URL), "--execgo-url"),
        ((URL, None, URL), "--execgo-runtime-url"),
        ((URL, URL, ""), "--execgo-fixtures-url"),
    ],
)
def test_external_needs_all_three_urls(urls: tuple[str | None, str | None, str | None], option: str) -> None:
    with pytest.raises(UsageError) as raised:
        ExternalStack(*urls)
    assert raised.value.hint == f"give it with {option}"


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x:port", "http://x:99999", "http://[::1"])
def test_external_refuses_what_is_not_a_url(url: str) -> None:
    with pytest.raises(UsageError, match=r"--execgo-runtime-url: .* is not a URL"):
        ExternalStack(URL, url, URL)


def test_external_can_do_nothing() -> None:
    stack = ExternalStack(URL, URL, URL)
    assert stack.capabilities == frozenset()
    for act in (stack.restart, stack.revive, stack.kill, stack.pause, stack.resume, stack.limit, stack.logs):
        with pytest.raises(Unsupported, match="external backend can't"):
            act(Service.KERNEL)
    with pytest.raises(StackError, match="not checked yet"):
        stack.endpoints()
