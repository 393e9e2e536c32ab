"""Which image a language runs in."""

from __future__ import annotations

from pytest_execgo.plan.sandbox import LANGUAGES
from pytest_execgo.sandbox.images import DEFAULT_IMAGES, image_for


def test_every_language_has_an_image_and_a_custom_one_wins() -> None:
    assert set(DEFAULT_IMAGES) == set(LANGUAGES)
    assert image_for("python") == "python:3.12-slim"
    assert image_for("python", {"python": "ours:1"}) == "ours:1"
    assert image_for("bash", {"python": "ours:1"}) == DEFAULT_IMAGES["bash"]
