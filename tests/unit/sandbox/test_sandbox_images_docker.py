"""Which image a language runs in."""

from __future__ import annotations

import pytest

from pytest_execgo.plan.sandbox import LANGUAGES
from pytest_execgo.sandbox.__main__ import main
from pytest_execgo.sandbox.images import DEFAULT_IMAGES, image_for


def test_every_language_has_an_image_and_a_custom_one_wins() -> None:
    assert set(DEFAULT_IMAGES) == set(LANGUAGES)
    assert image_for("python") == "python:3.12-slim"
    assert image_for("python", {"python": "ours:1"}) == "ours:1"
    assert image_for("bash", {"python": "ours:1"}) == DEFAULT_IMAGES["bash"]


def test_a_check_of_mode_docker_says_which_images_are_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def known(client: object, image: str) -> str | None:
        return "sha256:1" if image == DEFAULT_IMAGES["go"] else None

    monkeypatch.setattr("signal.signal", lambda *_: None)  # pytest's own handlers stay
    monkeypatch.setattr("pytest_execgo.sandbox.docker.DockerConfinement.problem", lambda self: None)
    monkeypatch.setattr("pytest_execgo.sandbox.images.connect", lambda: None)
    monkeypatch.setattr("pytest_execgo.sandbox.images.image_id", known)
    assert main(["check", "--mode", "docker"]) == 0
    words = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()[1:]]
    states = {image: state for state, image, _ in words}
    assert states == {image: "here" if image == DEFAULT_IMAGES["go"] else "missing" for image in DEFAULT_IMAGES.values()}
    assert ["missing", DEFAULT_IMAGES["javascript"], "(javascript, typescript)"] in words
