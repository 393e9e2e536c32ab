"""The images that languages run in, in mode docker: which they are, and that they are there (seed 002)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_execgo.core.engine.connection import connect
from pytest_execgo.core.engine.images import ImageError, image_id
from pytest_execgo.core.engine.images import pull_image as pull
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.sandbox import LANGUAGES, Language

DEFAULT_IMAGES: Mapping[Language, str] = {
    "python": "python:3.12-slim",
    "javascript": "node:22-slim",
    "typescript": "node:22-slim",
    "go": "golang:1.23",
    "rust": "rust:1-slim",
    "bash": "bash:5.2",
}
"""Official images; any other needs its language's program, `/bin/sh` and `cp`."""


def image_for(language: Language, custom_images: Mapping[Language, str] | None = None) -> str:
    """Return the image that a language runs in: the custom one where there is one."""
    return (custom_images or {}).get(language, DEFAULT_IMAGES[language])


def describe_images() -> str:
    """Say of each default image whether the engine has it, a line each. `EngineMissing` when no engine answers."""
    client = connect()
    lines = []
    for image in dict.fromkeys(DEFAULT_IMAGES.values()):
        there = "here" if image_id(client, image) is not None else "missing"
        users = ", ".join(language for language in LANGUAGES if DEFAULT_IMAGES[language] == image)
        commands = ", commands that name none" if image == DEFAULT_IMAGES["python"] else ""
        lines.append(f"  {there:7}  {image} ({users}{commands})")
    return "\n".join(lines)


def ensure_images(
    languages: Iterable[Language] = LANGUAGES, custom_images: Mapping[Language, str] | None = None
) -> dict[Language, str]:
    """Have the engine fetch the languages' images that it lacks, and return which they are.

    `EngineMissing` when no engine answers, `SandboxError` (`image_missing`) for the first image that can't be had.
    """
    images = {language: image_for(language, custom_images) for language in languages}
    for image in dict.fromkeys(images.values()):
        pull_image(image)
    return images


def pull_image(image: str) -> None:
    """Have the engine fetch one image, unless it has it. Errors as in `ensure_images`."""
    try:
        pull(connect(), image)
    except ImageError as error:
        raise SandboxError(
            "image_missing",
            error.message,
            "`docker pull` it, or `docker load` or `docker tag` one by that name; from Python, custom_images={language: image}",
        ) from error
