"""Options, variables, defaults; what commands see of the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.containment.environment import command_environment
from pytest_execgo.core.errors import UsageError
from pytest_execgo.runtime.api import parse_wait
from pytest_execgo.runtime.server import main, read_settings


def test_defaults() -> None:
    settings = read_settings([], {})
    assert (settings.addr, settings.queue_limit, settings.shutdown_timeout, settings.token) == (":8080", 1000, 15, "")
    assert settings.max_concurrency >= 10


def test_what_is_kept_and_shared_is_set_by_options_or_variables() -> None:
    settings = read_settings([], {})
    assert (settings.data_dir, settings.abandon_after) == ("runtime-data", 60)
    assert (settings.capacity_memory, settings.capacity_cpu, settings.tenant_limit) == (None, None, None)
    argv = ["-data-dir", "x", "-capacity-memory", "8000000000000", "-tenant-limit", "2"]
    settings = read_settings(argv, {"EXECGO_RUNTIME_CAPACITY_CPU": "1.5", "EXECGO_RUNTIME_ABANDON_AFTER": "0.5"})
    assert (settings.data_dir, settings.abandon_after) == ("x", 0.5)
    assert (settings.capacity_memory, settings.capacity_cpu, settings.tenant_limit) == (8 * 10**12, 1.5, 2)
    for bad in (["-capacity-memory", "0"], ["-capacity-cpu", "x"], ["-tenant-limit", "0"], ["-abandon-after", "0"]):
        with pytest.raises(UsageError, match=bad[0]):
            read_settings(bad, {})


def test_interpreters_of_mode_wasm_are_files_whether_they_are_there_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings([], {}).wasm_interpreters == ()
    monkeypatch.chdir(tmp_path)
    told = {"EXECGO_RUNTIME_WASM_INTERPRETERS": f"python=a.wasm,javascript={tmp_path}/a.wasm"}
    both = (f"python={tmp_path}/a.wasm", f"javascript={tmp_path}/a.wasm")
    assert read_settings([], told).wasm_interpreters == both
    for bad in ("python", "=a.wasm", "python=", "python=a.wasm,b.wasm"):
        with pytest.raises(UsageError, match=r"-wasm-interpreters.*names no language and its file"):
            read_settings(["-wasm-interpreters", bad], told)


@pytest.mark.parametrize("dashes", ["-", "--"])
@pytest.mark.parametrize("glue", [" ", "="])
def test_an_option_with_one_or_two_dashes_wins_over_its_variable(dashes: str, glue: str) -> None:
    argv = f"{dashes}addr{glue}127.0.0.1:1 {dashes}max-concurrency{glue}3 {dashes}shutdown-timeout{glue}2.5".split()
    settings = read_settings(argv, {"EXECGO_RUNTIME_ADDR": ":9", "EXECGO_RUNTIME_QUEUE_LIMIT": "0"})
    assert (settings.addr, settings.max_concurrency, settings.queue_limit) == ("127.0.0.1:1", 3, 0)
    assert settings.shutdown_timeout == 2.5


@pytest.mark.parametrize(
    ("argv", "environment", "said"),
    [
        (["-max-concurrency", "0"], {}, "-max-concurrency"),
        (["-max-concurrency", "many"], {}, "'many'"),
        ([], {"EXECGO_RUNTIME_QUEUE_LIMIT": "-1"}, "EXECGO_RUNTIME_QUEUE_LIMIT"),
        (["-shutdown-timeout", "nan"], {}, "-shutdown-timeout"),
        (["-addr", "8080"], {}, "'8080'"),
    ],
)
def test_a_bad_value_is_named(argv: list[str], environment: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_settings(argv, environment)


def test_a_users_mistake_is_one_clear_error_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-queue-limit", "x"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: -queue-limit")
    assert "Traceback" not in told


def test_commands_do_not_see_the_services_own_variables() -> None:
    given = {"PATH": "/bin", "LC_ALL": "C", "EXECGO_RUNTIME_TOKEN": "t", "EXECGO_X": "1", "MY_EXECGO_X": "2", "AWS_KEY": "3"}
    assert command_environment(given) == {"PATH": "/bin", "LC_ALL": "C"}
    assert command_environment(given, inherit=True) == {"PATH": "/bin", "LC_ALL": "C", "MY_EXECGO_X": "2", "AWS_KEY": "3"}


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("5s", 5), ("1.5s", 1.5), ("2m", 30), ("0s", 0)])
def test_a_wait_is_read_and_capped(text: str, seconds: float) -> None:
    assert parse_wait(text) == seconds


@pytest.mark.parametrize("text", ["5", "s", "-1s", "1h", "nan", "1e9s", "9" * 30 + "s"])
def test_another_wait_is_refused(text: str) -> None:
    with pytest.raises(HttpError, match="no duration"):
        parse_wait(text)
