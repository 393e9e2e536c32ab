"""A configuration is checked once; what can't be used is told with its option, its value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.provider import ModelChoice
from pytest_execgo.wiring.options import asked_for, effective
from pytest_execgo.wiring.settings import BACKENDS, Settings

ROOT = Path("/project")
URLS = {"url": "http://k", "runtime-url": "http://r", "fixtures-url": "http://f"}


def parse(**given: str) -> Settings:
    return Settings.parse(effective({name.replace("_", "-"): value for name, value in given.items()}, {}, {}), ROOT)


def test_the_defaults() -> None:
    assert parse() == Settings(
        root=ROOT,
        matrix=False,
        dry_run=False,
        scenarios=("all",),
        frameworks=("all",),
        modes=("replay",),
        chaos=("none",),
        repeat=1,
        seed=None,
        cells=(),
        backend="embedded",
        bin=None,
        image=None,
        runtime_image=None,
        base_image=None,
        url=None,
        runtime_url=None,
        fixtures_url=None,
        token=None,
        record=False,
        provider=None,
        model=ModelChoice(),
        out=ROOT / "var" / "runs",
        resume=False,
    )


def test_lists_lose_blanks_and_repetitions_but_not_their_order() -> None:
    settings = parse(scenario=" b, a ,,b,", framework="crewai", mode="live,replay", chaos="x,none", cell="c1, c2")
    assert (settings.scenarios, settings.frameworks, settings.modes) == (("b", "a"), ("crewai",), ("live", "replay"))
    assert (settings.chaos, settings.cells) == (("x", "none"), ("c1", "c2"))


@pytest.mark.parametrize("text", ["1", "true", "True", "YES", "on"])
def test_what_is_true(text: str) -> None:
    assert parse(matrix=text).matrix
    assert parse(dry_run=text).dry_run
    assert parse(resume=text).resume


@pytest.mark.parametrize("text", ["", "0", "false", "FALSE", "No", "off"])
def test_what_is_false(text: str) -> None:
    assert not parse(matrix=text).matrix


def test_numbers_and_places() -> None:
    settings = parse(repeat="10000", seed=str(2**63 - 1), out="/elsewhere", backend="native", bin="bin/execgo")
    assert (settings.repeat, settings.seed, settings.out) == (10_000, 2**63 - 1, Path("/elsewhere"))
    assert settings.bin == Path("bin/execgo")
    assert parse(seed="0").seed == 0
    assert parse(out="x").out == ROOT / "x"


def test_the_model() -> None:
    settings = parse(provider="openai", model=" gpt ", temperature="0.7", max_tokens="10", model_timeout="5")
    assert (settings.provider, settings.model) == ("openai", ModelChoice("gpt", 0.7, 10, 5_000))


@pytest.mark.parametrize(
    ("option", "value", "right"),
    [
        *(("matrix", value, "use true or false") for value in ("maybe", "2", " ")),
        ("dry-run", "ja", "use true or false"),
        *(("repeat", value, "from 1 to 10000") for value in ("0", "-1", "10001", "1.5", "x", "1e3", "9" * 5000)),
        *(("temperature", value, "from 0 to 2") for value in ("-0.1", "2.1", "warm", "nan")),
        *(("max_tokens", value, "from 1 to 10000000") for value in ("0", "many")),
        *(("model_timeout", value, "from 1 to 3600") for value in ("0", "1.5", "3601")),
        *(("seed", value, "from 0 to 9223372036854775807") for value in ("-1", "x", str(2**63), "0x10")),
    ],
)
def test_a_bad_value_is_told_with_its_option_and_what_is_allowed(option: str, value: str, right: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(**{option: value})
    assert refused.value.code == "bad_value"
    assert refused.value.message.startswith(f"--execgo-{option.replace('_', '-')}: {value!r} ")
    assert right in refused.value.hint


def test_an_empty_number_of_repetitions_is_a_bad_value_too() -> None:
    with pytest.raises(UsageError, match="--execgo-repeat: ''"):
        parse(repeat="")


def test_an_unknown_backend_gets_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="unknown backend 'extern'") as refused:
        parse(backend="extern")
    assert "did you mean 'external'?" in refused.value.hint
    assert all(name in refused.value.hint for name in BACKENDS)


@pytest.mark.parametrize("name", ["docker", "Podman", "container"])
def test_the_name_of_an_engine_means_containers(name: str) -> None:
    with pytest.raises(UsageError, match=f"unknown backend '{name}'") as refused:
        parse(backend=name)
    assert "did you mean 'containers'?" in refused.value.hint
    assert all(name in refused.value.hint for name in BACKENDS)


def test_a_base_image_is_the_machines_and_goes_with_any_backend_unless_the_command_line_names_it() -> None:
    values = effective({}, {}, {"PYTEST_EXECGO_BASE_IMAGE": "own/base:1"})
    assert Settings.parse(values, ROOT).base_image == "own/base:1"
    assert Settings.parse(values | {"backend": "containers"}, ROOT, base_image_given=True).base_image == "own/base:1"
    with pytest.raises(UsageError, match="--execgo-base-image does not go with backend 'embedded'") as refused:
        Settings.parse(values, ROOT, base_image_given=True)
    assert "--execgo-backend containers" in refused.value.hint


@pytest.mark.parametrize("option", ["image", "runtime-image"])
def test_images_go_with_containers_only(option: str) -> None:
    settings = parse(backend="containers", **{option: "own/image:1"})
    assert getattr(settings, option.replace("-", "_")) == "own/image:1"
    with pytest.raises(UsageError, match=f"--execgo-{option} does not go with backend 'embedded'") as refused:
        parse(**{option: "own/image:1"})
    assert "--execgo-backend containers" in refused.value.hint


@pytest.mark.parametrize(
    ("given", "environment", "asked"),
    [
        ({}, {}, False),
        ({"backend": None}, {"PYTEST_EXECGO_BACKEND": ""}, False),
        ({"backend": "containers"}, {}, True),
        ({}, {"PYTEST_EXECGO_BACKEND": "containers"}, True),
    ],
)
def test_a_call_asks_for_a_backend_by_its_words_or_its_environment(
    given: dict[str, object], environment: dict[str, str], asked: bool
) -> None:
    assert asked_for("backend", given, environment) is asked


def test_each_backend_with_what_it_needs() -> None:
    assert parse(backend="native", bin="/x").backend == "native"
    settings = parse(backend="external", **URLS)
    assert (settings.url, settings.runtime_url, settings.fixtures_url) == ("http://k", "http://r", "http://f")


def test_native_needs_a_binary() -> None:
    with pytest.raises(UsageError, match="'native' needs") as refused:
        parse(backend="native")
    assert (refused.value.code, refused.value.hint) == ("option_missing", "add --execgo-bin PATH")


@pytest.mark.parametrize("missing", list(URLS))
def test_external_needs_each_address(missing: str) -> None:
    with pytest.raises(UsageError, match=f"needs --execgo-{missing}") as refused:
        parse(backend="external", **{name: url for name, url in URLS.items() if name != missing})
    assert refused.value.code == "option_missing"


@pytest.mark.parametrize("backend", ["embedded", "external"])
def test_a_binary_goes_with_native_alone(backend: str) -> None:
    with pytest.raises(UsageError, match=f"--execgo-bin does not go with backend '{backend}'") as refused:
        parse(backend=backend, bin="/x", **(URLS if backend == "external" else {}))
    assert refused.value.code == "option_conflict"


def test_a_token_goes_with_external_alone() -> None:
    assert parse(backend="external", token="t", **URLS).token == "t"
    with pytest.raises(UsageError, match="a token does not go with backend 'embedded'"):
        parse(token="t")


def test_an_empty_folder_is_no_folder() -> None:
    with pytest.raises(UsageError, match="--execgo-out: an empty path"):
        parse(out=" ")


@pytest.mark.parametrize("option", list(URLS))
@pytest.mark.parametrize("backend", ["embedded", "native"])
def test_addresses_go_with_external_alone(backend: str, option: str) -> None:
    binary = {"bin": "/x"} if backend == "native" else {}
    with pytest.raises(UsageError, match=f"do not go with backend '{backend}'") as refused:
        parse(backend=backend, **binary, **{option: "http://x"})
    assert (refused.value.code, refused.value.hint) == ("option_conflict", "add --execgo-backend external")
