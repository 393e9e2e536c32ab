from __future__ import annotations

import io
import tarfile
from typing import Any

import docker
import pytest

from pytest_execgo.core.engine.images import (
    BuildContext,
    ImageError,
    build_image,
    image_id,
    pull_image,
    remove_unused_images,
)

FILES = {"Dockerfile": b"FROM base\n", "code/run": b"#!/bin/sh\n"}


def test_a_digest_stands_for_everything_that_is_built_from() -> None:
    plain = BuildContext(FILES)
    assert plain.digest() == BuildContext(dict(reversed(FILES.items()))).digest()
    others = [
        BuildContext({**FILES, "code/run": b"#!/bin/bash\n"}),
        BuildContext({"Dockerfile": FILES["Dockerfile"], "code/go": FILES["code/run"]}),
        BuildContext(FILES, executable=frozenset({"code/run"})),
        BuildContext(FILES, arguments={"BASE_IMAGE": "other"}),
        BuildContext(FILES, labels={"a": "b"}),
    ]
    digests = {plain.digest(), plain.digest("sha256:base"), *(other.digest() for other in others)}
    assert len(digests) == 7
    assert all(len(one) == 12 for one in digests)


def test_the_tar_is_the_same_for_the_same_files() -> None:
    context = BuildContext(FILES, executable=frozenset({"code/run"}))
    packed = context.tar()
    assert packed == BuildContext(dict(reversed(FILES.items())), executable=frozenset({"code/run"})).tar()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        found = {one.name: (oct(one.mode), archive.extractfile(one).read()) for one in archive}  # type: ignore[union-attr]
    assert found == {"Dockerfile": ("0o644", b"FROM base\n"), "code/run": ("0o755", b"#!/bin/sh\n")}


class FakeEngine:
    """As much of an engine's client as images need; `has` are the images that it knows."""

    def __init__(self, *has: str, says: list[dict[str, str]] | None = None, refuses: str = "") -> None:
        self.has = set(has)
        self.says = says or []
        self.refuses = refuses
        self.api = self
        self.images = self
        self.built: dict[str, Any] = {}

    def inspect_image(self, reference: str) -> dict[str, str]:
        if reference not in self.has:
            raise docker.errors.ImageNotFound("no such image")
        return {"Id": f"sha256:{reference}"}

    def pull(self, repository: str, tag: str) -> None:
        if self.refuses:
            raise docker.errors.APIError("refused", explanation=self.refuses)
        self.has.add(f"{repository}:{tag}")

    def build(self, **options: Any) -> list[dict[str, str]]:
        if self.refuses:
            raise docker.errors.APIError("refused", explanation=self.refuses)
        self.built = options
        if not any("error" in event for event in self.says):
            self.has.add(options["tag"])
        return self.says


def test_an_image_is_known_or_not() -> None:
    assert image_id(FakeEngine("one:1"), "one:1") == "sha256:one:1"
    assert image_id(FakeEngine(), "one:1") is None


def test_only_what_is_missing_is_pulled() -> None:
    engine = FakeEngine("one:1", refuses="never")
    pull_image(engine, "one:1")
    engine.refuses = ""
    pull_image(engine, "registry:5000/two:2")
    pull_image(engine, "three")
    assert engine.has == {"one:1", "registry:5000/two:2", "three:latest"}


def test_what_can_not_be_pulled_is_said_in_the_engines_words() -> None:
    with pytest.raises(ImageError, match=r"the image one:1 is not here and can't be pulled: no such host") as raised:
        pull_image(FakeEngine(refuses="no such host"), "one:1")
    assert raised.value.code == "image_missing"
    assert "docker load" in raised.value.hint


def test_a_build_gets_the_whole_context_and_no_network() -> None:
    engine = FakeEngine()
    build_image(engine, "one:1", BuildContext(FILES, arguments={"BASE_IMAGE": "base"}), target="kernel")
    assert engine.built["fileobj"].read() == BuildContext(FILES).tar()
    wanted = {"target": "kernel", "buildargs": {"BASE_IMAGE": "base"}, "network_mode": "none", "custom_context": True}
    assert {name: engine.built[name] for name in wanted} == wanted


def test_a_build_that_fails_is_one_error_with_the_last_lines() -> None:
    lines = [{"stream": f"line {number}\n"} for number in range(30)]
    with pytest.raises(ImageError, match="the image one:1 can't be built: it ended with 1") as raised:
        build_image(FakeEngine(says=[*lines, {"error": "it ended with 1"}]), "one:1", BuildContext(FILES))
    assert raised.value.code == "image_build_failed"
    said = raised.value.message.splitlines()[1:]
    assert said == [f"  | line {number}" for number in range(10, 30)]


def test_a_build_that_the_engine_refuses_is_the_same_kind_of_error() -> None:
    with pytest.raises(ImageError, match=r"can't be built: dockerfile parse error\n  \(no output\)"):
        build_image(FakeEngine(refuses="dockerfile parse error"), "one:1", BuildContext(FILES))


class StoredImages:
    """An engine's images, by their ids with their tags and digests, each as the engine writes them. All carry the label."""

    def __init__(self, **names: tuple[list[str] | None, list[str] | None]) -> None:
        self.names = names
        self.api = self

    def containers(self, *, all: bool) -> list[dict[str, Any]]:
        return []

    def images(self, *, all: bool, filters: dict[str, str] | None = None) -> list[dict[str, Any]]:
        return [
            {"Id": f"sha256:{one}", "ParentId": "", "RepoTags": tags, "RepoDigests": digests}
            for one, (tags, digests) in self.names.items()
        ]

    def remove_image(self, name: str, *, noprune: bool) -> None:
        del self.names[next(one for one, (tags, _) in self.names.items() if name in (one, *(tags or ())))]


def test_a_digest_is_a_name_too() -> None:
    engine = StoredImages(
        tagged=(["execgo/kernel:1"], None),
        pushed=(["execgo/kernel:2"], ["execgo/kernel@sha256:2"]),
        untagged=(None, ["execgo/kernel@sha256:3"]),
        left=(["<none>:<none>"], ["<none>@<none>"]),
        theirs=(None, ["localhost:5000/app@sha256:5"]),
        theirs_too=(["execgo/kernel:6"], ["localhost:5000/kernel@sha256:6"]),
    )
    removed = remove_unused_images(engine, "label", ["execgo/kernel"])
    assert removed == ["execgo/kernel:1", "execgo/kernel:2", "untagged", "left"]
    assert list(engine.names) == ["theirs", "theirs_too"]
