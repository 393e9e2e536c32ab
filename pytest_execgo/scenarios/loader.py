"""Loads a scenario from its folder, or says everything that keeps it from being one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pytest_execgo.core.document import SourceDocument, read_document
from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonvalue import describe, step_text
from pytest_execgo.plan.model import PromptPack
from pytest_execgo.plan.problems import Problem, Suggester, invalid_file, located
from pytest_execgo.plan.scenario import ScenarioSpec
from pytest_execgo.plan.shape import check_shape
from pytest_execgo.plan.tools import TOOLS
from pytest_execgo.scenarios.folder import digest_of, files_of, leaves, outside
from pytest_execgo.scenarios.model import Scenario


def load_scenario(file: Path, *, chaos: Collection[str] | None = None) -> Scenario:
    """Load the scenario that a `scenario.yaml` (or .yml, .json, .toml) describes, with the texts and documents that it names.

    `chaos` are the chaos profiles that there are, which alone it may allow (None: that is not looked at).
    `UsageError` lists every problem of the file and of what it names, each with file, line, place, and what is allowed.
    """
    source = read_document(file)
    reading = _Reading(source)
    spec, _, reading.problems = check_shape(ScenarioSpec, source.data)
    reading.check_id()
    reading.check_tools()
    reading.check_chaos(chaos)
    reading.check_workspace_paths()
    reading.check_links()
    reading.check_verifier()
    prompts = {name: reading.text("prompt_pack", name) for name in PromptPack.model_fields}
    fixtures = reading.fixtures()
    expected = reading.document("expected") if isinstance(source.data.get("expected"), str) else None
    reference_plan = reading.document("reference_plan")
    lines = [*located(source, reading.problems), *reading.elsewhere]
    if spec is None or lines:
        raise invalid_file("scenario", lines)
    folder = file.parent.absolute()
    try:
        digest = digest_of(folder)
    except OSError as error:
        raise UsageError("unreadable_file", f"{error.filename}: {error.strerror or error}") from error
    return Scenario(
        spec=spec,
        folder=folder,
        file=file.absolute(),
        prompt_pack=PromptPack(**prompts),
        expected=spec.expected if isinstance(spec.expected, dict) else expected.data if expected else {},
        reference_plan=reference_plan.data if reference_plan else {},
        fixtures=fixtures.absolute() if fixtures else None,
        digest=digest,
        reference_source=reference_plan,
    )


class _Reading:
    """One scenario file being checked: works on whatever of it is well-formed, and collects problems."""

    def __init__(self, source: SourceDocument) -> None:
        self.source = source
        self.folder = source.path.parent
        self.data = source.data
        self.suggest = Suggester()
        self.problems: list[Problem] = []
        self.elsewhere: list[str] = []  # problems within files that the scenario names

    def problem(self, path: str, code: str, message: str) -> None:
        self.problems.append(Problem(path, code, message))

    def check_id(self) -> None:
        name = self.folder.absolute().name
        if isinstance(self.data.get("id"), str) and self.data["id"] != name:
            self.problem("$.id", "id_mismatch", f"found {describe(self.data['id'])}; allowed: the name of the folder, {name!r}")
        elif name == "all":
            self.problem("$.id", "reserved", "'all' stands for every scenario; choose another name")

    def check_tools(self) -> None:
        tools = self.data.get("allowed_tools")
        for index, tool in enumerate(tools if isinstance(tools, list) else []):
            if isinstance(tool, str) and tool not in TOOLS:
                self.problem(f"$.allowed_tools[{index}]", "unknown_tool", self.suggest.unknown("tool", tool, sorted(TOOLS)))

    def check_chaos(self, known: Collection[str] | None) -> None:
        profiles = self.data.get("allowed_chaos")
        if known is None or not isinstance(profiles, list):
            return
        allowed = sorted({*known, "all"})
        for index, name in enumerate(profiles):
            if isinstance(name, str) and name not in allowed:
                message = self.suggest.unknown("chaos profile", name, allowed)
                self.problem(f"$.allowed_chaos[{index}]", "unknown_chaos", message)

    def check_workspace_paths(self) -> None:
        artifacts = self.data.get("artifacts")
        for name, path in artifacts.items() if isinstance(artifacts, dict) else ():
            if isinstance(path, str) and (reason := outside(path)):
                message = f"{describe(path)} {reason}; allowed: a relative path beneath the run's workspace"
                self.problem("$.artifacts" + step_text(name), "path_outside", message)

    def check_links(self) -> None:
        for path in files_of(self.folder):
            if path.is_symlink() and leaves(self.folder, path):
                relative = path.relative_to(self.folder)
                self.problem("$", "path_outside", f"the symbolic link {str(relative)!r} leads out of the scenario's folder")

    def check_verifier(self) -> None:
        """A name without `.py` is one that a plugin registered, which only a run can know."""
        verifier = self.data.get("verifier")
        if not isinstance(verifier, str):
            return
        file, colon, function = verifier.partition(":")
        if not colon and not file.endswith(".py"):
            if not verifier.strip():
                self.problem("$.verifier", "bad_value", "is blank; allowed: `file.py:function`, or a registered name")
        elif not file.endswith(".py") or not function.isidentifier():
            message = f"found {describe(verifier)}; allowed: `file.py:function`, or a registered name"
            self.problem("$.verifier", "bad_value", message)
        else:
            self.locate("$.verifier", file, "file")

    def locate(self, path: str, relative: str, kind: str) -> Path | None:
        """Return the file or folder of the scenario that a field names; None, with a problem, if there is none."""
        reason = outside(relative)
        place = self.folder / relative
        if reason is None and leaves(self.folder, place):
            reason = "leads out of it through a symbolic link"
        if reason is not None:
            message = f"{describe(relative)} {reason}; allowed: a relative path within the scenario's folder"
            self.problem(path, "path_outside", message)
        elif not (place.is_dir() if kind == "folder" else place.is_file()):
            other = f", which is no {kind}" if place.exists() else ""
            self.problem(path, "missing_file", f"there is no {kind} {str(place)!r}{other}")
        else:
            return place
        return None

    def text(self, *fields: str) -> str:
        """Return the text of the file that a field names; empty when it names none."""
        value: Any = self.data
        for field in fields:
            value = value.get(field) if isinstance(value, dict) else None
        if not isinstance(value, str):
            return ""
        path = "$." + ".".join(fields)
        place = self.locate(path, value, "file")
        try:
            return place.read_text("utf-8") if place else ""
        except UnicodeDecodeError as error:
            self.problem(path, "unreadable_file", f"{str(place)!r} is not UTF-8 text (byte {error.start})")
        except OSError as error:
            self.problem(path, "unreadable_file", f"{str(place)!r} can't be read: {error.strerror or error}")
        return ""

    def document(self, field: str) -> SourceDocument | None:
        """Return the document in the file that a field names; None when there is none."""
        value = self.data.get(field)
        place = self.locate(f"$.{field}", value, "file") if isinstance(value, str) else None
        try:
            return read_document(place) if place else None
        except UsageError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.elsewhere += [line + hint for line in error.message.splitlines()]
        return None

    def fixtures(self) -> Path | None:
        value = self.data.get("fixtures")
        return self.locate("$.fixtures", value, "folder") if isinstance(value, str) else None
