"""Flags and environment."""

from __future__ import annotations

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.kernel.server import main, read_settings
from pytest_execgo.kernel.settings import RuntimeSettings, Settings


def test_defaults_are_execgos() -> None:
    settings = read_settings([], {})
    assert (settings.address, settings.grpc_address, settings.data_dir) == (":8080", ":50051", "data")
    assert (settings.max_concurrency, settings.shutdown_timeout) == (10, 15)
    assert settings == Settings()


@pytest.mark.parametrize(
    "argv",
    [
        ["-addr", ":1", "-max-concurrency", "3"],
        ["--addr=:1", "--max-concurrency=3"],
        ["-addr=:1", "--max-concurrency", "3"],
    ],
)
def test_flags_are_read_as_go_reads_them_and_win(argv: list[str]) -> None:
    settings = read_settings(argv, {"EXECGO_ADDR": ":2", "EXECGO_MAX_CONCURRENCY": "4", "EXECGO_SHUTDOWN_TIMEOUT": "5"})
    assert (settings.address, settings.max_concurrency, settings.shutdown_timeout) == (":1", 3, 5)


def test_our_own_settings() -> None:
    environment = {
        "EXECGO_TOKEN": "t",
        "EXECGO_SHELL_POLICY": " Open ",
        "EXECGO_RUNTIME_URL": "http://r",
        "EXECGO_RUNTIME_TOKEN": "rt",
        "EXECGO_RUNTIME_TENANT": "te",
        "EXECGO_RUNTIME_OWNER": "ow",
        "PATH": "/bin",
    }
    settings = read_settings(["--ready-fd", "7", "--shared-port"], environment)
    assert (settings.ready_fd, settings.shared_port, settings.token, settings.open_shell) == (7, True, "t", True)
    assert settings.runtime == RuntimeSettings("http://r", "rt", "te", "ow")
    assert settings.environment == {"PATH": "/bin"}  # commands never see what is the kernel's own


@pytest.mark.parametrize(
    ("argv", "environment", "said"),
    [
        (["-max-concurrency", "0"], {}, "-max-concurrency (EXECGO_MAX_CONCURRENCY): '0' can't be used"),
        ([], {"EXECGO_MAX_CONCURRENCY": "many"}, "'many' can't be used"),
        (["-shutdown-timeout=-1"], {}, "'-1' can't be used"),
        (["-addr", "nowhere"], {}, "address 'nowhere' can't be used"),
        (["-addr"], {}, "option -addr needs a value"),
        (["-adr", ":1"], {}, "unknown option 'adr'"),
        (["kernel"], {}, "unexpected argument 'kernel'"),
    ],
)
def test_bad_values_are_named(argv: list[str], environment: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(argv, environment)
    assert said in caught.value.message


def test_main_says_one_line_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-max-concurrency", "x"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "'x' can't be used" in said.err
    assert said.out == ""
