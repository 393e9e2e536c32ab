"""Images that are built here: a context in memory, and a tag that says what is in it, so that nothing is built twice."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_execgo.core.engine.connection import explain
from pytest_execgo.core.errors import ExecGoError

if TYPE_CHECKING:
    from pytest_execgo.core.engine.connection import EngineClient

_LAST_LINES = 20


class ImageError(ExecGoError):
    """An image can't be built or had; the message ends in the last lines of what the engine said."""


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What an image is built from: files by their names in the context, `Dockerfile` among them.

    `executable` names those that are programs. `arguments` are the build's, `labels` the image's.
    """

    files: Mapping[str, bytes]
    executable: frozenset[str] = frozenset()
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def digest(self, *more: str) -> str:
        """Return 12 hexadecimal digits that stand for the files, the arguments and `more`."""
        sha = hashlib.sha256()
        for name in sorted(self.files):
            sha.update(f"{name}\0{name in self.executable}\0{hashlib.sha256(self.files[name]).hexdigest()}\n".encode())
        for pair in (*sorted(self.arguments.items()), *sorted(self.labels.items()), *(("", one) for one in more)):
            sha.update("\0".join(pair).encode() + b"\n")
        return sha.hexdigest()[:12]

    def tar(self) -> bytes:
        """Return the context as the engine wants it; the same files give the same bytes."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name in sorted(self.files):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(self.files[name]), 0o755 if name in self.executable else 0o644
                archive.addfile(entry, io.BytesIO(self.files[name]))
        return buffer.getvalue()


def image_id(client: EngineClient, reference: str) -> str | None:
    """Return the id of an image that the engine has; None when it has none of that name."""
    import docker

    try:
        return str(client.api.inspect_image(reference)["Id"])
    except docker.errors.ImageNotFound:
        return None


def image_bytes(client: EngineClient, reference: str) -> int:
    """Return the size of an image that the engine has, with all of its layers."""
    return int(client.api.inspect_image(reference)["Size"])


def pull_image(client: EngineClient, reference: str) -> None:
    """Have the engine fetch an image that it lacks; `ImageError` says why it can't."""
    import docker

    if image_id(client, reference) is not None:
        return
    repository, tag = docker.utils.parse_repository_tag(reference)
    try:
        client.images.pull(repository, tag=tag or "latest")
    except docker.errors.APIError as error:
        raise ImageError(
            "image_missing",
            f"the image {reference} is not here and can't be pulled: {explain(error)}",
            "check its name, and that the engine reaches its registry; or load it with `docker load`",
        ) from error


def build_image(client: EngineClient, reference: str, context: BuildContext, *, target: str | None = None) -> None:
    """Build `target` of the context's Dockerfile and name it `reference`; `ImageError` with the end of the build's output.

    The engine's own builder is used, which caches layers but knows no `RUN --mount` and no `# syntax`. Steps have no network.
    """
    import docker

    said: list[str] = []
    try:
        for event in client.api.build(
            fileobj=io.BytesIO(context.tar()),
            custom_context=True,
            tag=reference,
            target=target,
            buildargs=dict(context.arguments),
            labels=dict(context.labels),
            network_mode="none",
            rm=True,
            forcerm=True,
            decode=True,
        ):
            said += str(event.get("stream") or event.get("status") or "").splitlines()
            if "error" in event:
                raise _failed(reference, str(event["error"]), said)
    except docker.errors.APIError as error:
        raise _failed(reference, explain(error), said) from error
    if image_id(client, reference) is None:
        raise _failed(reference, "the engine built nothing", said)


def remove_unused_images(client: EngineClient, label: str, repositories: Collection[str], keep: Collection[str] = ()) -> list[str]:
    """Remove images that carry `label`, and return what they were called; an untagged one goes by its short id.

    Those in `keep` stay, and what a container uses, running or not. So does what has a name outside of `repositories`, be it a
    tag or a digest: an image that somebody has built on one of ours carries our labels, too; without a name it goes. What another
    image is built on stays where the engine knows of it: BuildKit doesn't record it.
    """
    removed: list[str] = []
    # what a build has left is built on one another, so that one goes after the other
    while gone := [name for name in _unused(client, label, repositories, keep) if _remove_image(client, name)]:
        removed += gone
    return removed


def _unused(client: EngineClient, label: str, repositories: Collection[str], keep: Collection[str]) -> Iterator[str]:
    held = {one["ImageID"] for one in client.api.containers(all=True)}
    held |= {one["ParentId"] for one in client.api.images(all=True)}
    for image in client.api.images(all=True, filters={"label": label}):
        tags = [tag for tag in image["RepoTags"] or () if tag != "<none>:<none>"]
        named = {tag.rpartition(":")[0] for tag in tags} | {one.partition("@")[0] for one in image["RepoDigests"] or ()}
        foreign = named - {"<none>", *repositories}
        if image["Id"] not in held and not foreign and not set(keep).intersection(tags):
            yield from tags or [image["Id"].removeprefix("sha256:")[:12]]


def _remove_image(client: EngineClient, name: str) -> bool:
    import docker

    try:
        client.api.remove_image(name, noprune=True)  # else untagged ones beneath it go, too, be they ours or not
    except docker.errors.APIError as error:
        if error.status_code not in (404, 409):  # somebody has removed it, or uses it since
            raise
        return False
    return True


def run_once(client: EngineClient, reference: str, command: list[str], labels: Mapping[str, str]) -> str:
    """Run a short command in an image, as nobody and without a network, and return what it prints; `ImageError` if it fails."""
    import docker

    try:
        container = client.containers.create(
            reference, command[1:], entrypoint=command[:1], user="65534:65534", network_disabled=True, labels=dict(labels)
        )
        try:
            container.start()
            code = container.wait()["StatusCode"]
            said, complaints = (str(container.logs(stdout=out, stderr=not out), "utf-8", "replace") for out in (True, False))
        finally:
            container.remove(force=True)
    except docker.errors.APIError as error:
        raise ImageError("image_unusable", f"the image {reference} can't run {command[0]}: {explain(error)}") from error
    if code != 0:
        end = "\n".join(complaints.splitlines()[-_LAST_LINES:])
        raise ImageError("image_unusable", f"{command[0]} fails in the image {reference}: {end}")
    return said


def _failed(reference: str, problem: str, said: list[str]) -> ImageError:
    lines = "\n".join(f"  | {line}" for line in [one for one in said if one.strip()][-_LAST_LINES:])
    return ImageError("image_build_failed", f"the image {reference} can't be built: {problem}\n{lines or '  (no output)'}")
