"""Images of ours that nothing needs any more, removed by hand. All are made here, under a label and names of the test's own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_execgo.cli.harness import main
from pytest_execgo.core.engine.images import BuildContext, build_image, image_id, remove_unused_images
from pytest_execgo.core.engine.ownership import owner_labels
from pytest_execgo.harness import image_build
from pytest_execgo.plan.stack import Service

Build = Callable[..., str]


@pytest.fixture
def own() -> str:
    """What is on the test's images, and in their names."""
    return f"execgo-test-{secrets.token_hex(6)}"


@pytest.fixture
def build(engine: Any, base_image: str, own: str) -> Iterator[Build]:
    """Build an image: `build("name:tag", "step", …, base=…, marked=…)`; nothing of it stays after the test."""

    def one(name: str, *steps: str, base: str = base_image, marked: bool = True) -> str:
        lines = [f"FROM {base}", *([f"LABEL {own}=1"] if marked else []), *steps, f"ENV WHO={own}-{name}"]
        build_image(engine, f"{own}/{name}", BuildContext({"Dockerfile": "\n".join(lines).encode()}))
        return f"{own}/{name}"

    yield one
    for _ in range(3):  # an image goes after those that are built on it
        for found in engine.api.images(filters={"reference": f"{own}/*"}):
            for tag in found["RepoTags"] or ():
                engine.images.remove(tag)
        for found in engine.api.images(filters={"label": own}):
            engine.images.remove(found["Id"], force=True)  # and what is untagged beneath it
    assert engine.api.images(all=True, filters={"label": own}) == []


def test_what_nothing_needs_goes_and_all_else_stays(engine: Any, own: str, build: Build) -> None:
    old, current, used, under = (build(f"kernel:{tag}") for tag in ("old", "current", "used", "under"))
    engine.api.tag(used, f"{own}/kernel", "used-too")
    upper = build("kernel:upper", base=old)
    somebodys, unmarked = build("app:1", base=under), build("kernel:unmarked", marked=False)
    untagged = build("kernel:twice", "ENV FIRST=1")
    left = image_id(engine, untagged)
    build("kernel:twice", "ENV SECOND=1")  # the name goes to the other one
    container = engine.containers.create(used, ["true"], labels=owner_labels())
    try:
        removed = remove_unused_images(engine, own, [f"{own}/kernel"], [current])
        assert {name for name in removed if ":" in name} == {old, upper, untagged}
        assert str(left).removeprefix("sha256:")[:12] in removed
        assert [image_id(engine, one) for one in (old, upper, untagged, str(left))] == [None] * 4
        assert all(image_id(engine, one) for one in (current, used, f"{own}/kernel:used-too", under, somebodys, unmarked))
        assert remove_unused_images(engine, own, [f"{own}/kernel"], [current]) == []
    finally:
        container.remove(force=True)
    removed = remove_unused_images(engine, own, [f"{own}/kernel"], [current])
    assert {name for name in removed if ":" in name} == {used, f"{own}/kernel:used-too"}


def test_every_step_of_ours_goes_and_a_base_that_lost_its_name_stays(engine: Any, own: str, build: Build) -> None:
    base = build("base:1", marked=False)
    bottom = image_id(engine, base)
    name = build("kernel:1", "ENV FIRST=1", "ENV SECOND=1", base=base)
    build("base:1", "ENV NEWER=1", marked=False)  # the name goes to the newer one
    steps = [one["Id"].removeprefix("sha256:")[:12] for one in engine.api.images(all=True, filters={"label": own})]
    try:
        removed = remove_unused_images(engine, own, [f"{own}/kernel"])
        assert engine.api.images(all=True, filters={"label": own}) == []
        assert image_id(engine, str(bottom)) == bottom
        # the last step's image is the one that has the name
        assert removed[0] == name
        assert set(removed[1:]) < set(steps)
        assert len(removed) == len(steps) == 4
    finally:
        engine.images.remove(bottom)


def test_the_command_leaves_the_images_of_this_version(
    engine: Any, own: str, build: Build, base_image: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def built(client: Any, context: Any, pins: Any, base: str, images: dict[Service, str], tell: Any) -> None:
        for image in images.values():
            build(image.removeprefix(f"{own}/"))

    monkeypatch.setattr(image_build, "SERVICE_LABEL", own)
    monkeypatch.setattr(image_build, "REPOSITORY", own)
    monkeypatch.setattr(image_build, "_build", built)
    current = image_build.service_images(engine, base_image)
    old = [build(f"{service}:0123456789ab") for service in Service]
    # to ask what all containers and volumes take is the engine's most expensive call
    monkeypatch.setattr(engine.api, "df", lambda: pytest.fail("minutes, on a big host"))
    assert main(["clean", "--base-image", base_image]) == 0
    *names, summary = capsys.readouterr().out.splitlines()
    assert sorted(name for name in names if ":" in name) == sorted(old)
    assert summary == f"{len(names)} images removed"
    assert all(image_id(engine, image) for image in current.values())
    assert main(["clean", "--base-image", base_image]) == 0
    assert capsys.readouterr().out == "no image to remove\n"
