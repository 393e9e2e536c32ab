"""One option, four places to give it, one order among them."""

from __future__ import annotations

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.wiring.collector import shown
from pytest_execgo.wiring.options import OPTIONS, effective


def test_without_anything_given_every_option_has_its_default() -> None:
    values = effective({}, {}, {})
    assert values == {option.name: option.default for option in OPTIONS}
    assert {name: value for name, value in values.items() if value} == {
        **{"scenario": "all", "framework": "all", "mode": "replay", "chaos": "none"},
        **{"repeat": "1", "backend": "embedded", "out": "var/runs"},
        **{"temperature": "0", "max-tokens": "4096", "model-timeout": "60"},
        **{"progress": "on", "junit-properties": "on"},
    }


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_the_command_line_wins_over_the_environment_that_over_ini_files(option: object) -> None:
    name, variable = option.name, option.variable  # type: ignore[attr-defined]
    given, ini, environment = {name: "cli"}, {name: "ini"}, {variable: "env"}
    assert effective(given, ini, environment)[name] == "cli"
    assert effective({name: None}, ini, environment)[name] == "env"
    assert effective({}, ini, {variable: ""})[name] == "ini", "an empty variable is none"
    assert effective({}, {}, environment)[name] == "env"
    others = {key: value for key, value in effective(given, {}, {}).items() if key != name}
    assert others == {key: value for key, value in effective({}, {}, {}).items() if key != name}


def test_the_names_of_an_option() -> None:
    by_name = {option.name: option for option in OPTIONS}
    assert by_name["runtime-url"].variable == "PYTEST_EXECGO_RUNTIME_URL"
    assert by_name["runtime-url"].dest == "execgo_runtime_url"
    assert len(by_name) == len(OPTIONS)
    assert {name for name, option in by_name.items() if not option.in_ini} == {"dry-run", "cell", "record", "resume"}
    assert {name for name, option in by_name.items() if option.kind == "flag"} == {"matrix", "dry-run", "record", "resume", "trace"}


def test_a_flag_is_true_when_it_is_given_and_open_when_it_is_not() -> None:
    assert effective({"matrix": True}, {}, {})["matrix"] == "true"
    assert effective({"matrix": False}, {}, {"PYTEST_EXECGO_MATRIX": "1"})["matrix"] == "1"
    assert effective({"matrix": True}, {}, {"PYTEST_EXECGO_MATRIX": "0"})["matrix"] == "true"


def test_a_repeated_option_and_comma_lists_add_up() -> None:
    assert effective({"scenario": ["a", "b,c"]}, {}, {})["scenario"] == "a,b,c"
    assert effective({"scenario": []}, {"scenario": "x"}, {})["scenario"] == ""


def test_text_that_is_empty_or_zero_is_still_given() -> None:
    assert effective({"seed": "0"}, {}, {"PYTEST_EXECGO_SEED": "5"})["seed"] == "0"
    assert effective({"seed": 0}, {}, {"PYTEST_EXECGO_SEED": "5"})["seed"] == "0"
    assert effective({"seed": ""}, {}, {"PYTEST_EXECGO_SEED": "5"})["seed"] == ""


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("PYTEST_EXECGO_SCENARIOS", "PYTEST_EXECGO_SCENARIO"), ("PYTEST_EXECGO_RUNTIMEURL", "PYTEST_EXECGO_RUNTIME_URL")],
)
def test_a_variable_that_nobody_reads_is_refused_with_the_nearest_one(name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"unknown environment variable '{name}'") as refused:
        effective({}, {}, {name: ""})
    assert refused.value.code == "unknown_environment_variable"
    assert f"did you mean '{nearest}'?" in refused.value.hint


def test_the_kernels_own_variables_are_not_ours() -> None:
    assert effective({}, {}, {"EXECGO_ADDR": ":1", "PYTEST_ADDOPTS": "-q", "HOME": "/"}) == effective({}, {}, {})


def test_the_process_environment_is_read_when_no_other_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_EXECGO_REPEAT", "4")
    assert effective({}, {})["repeat"] == "4"


@pytest.mark.parametrize("given", [[""], [" ", ","]])
@pytest.mark.parametrize("name", ["gate", "baseline", "cell"])
def test_a_demand_that_is_empty_is_refused_and_not_dropped(name: str, given: list[str]) -> None:
    with pytest.raises(UsageError, match=f"{name}: an empty text can't be used"):
        effective({name: given}, {}, {})


def test_a_collector_is_shown_without_its_password() -> None:
    assert shown("https://me:secret@otel.example:4318/v1") == "https://otel.example:4318/v1"
    assert shown("http://localhost:4318") == "http://localhost:4318"
