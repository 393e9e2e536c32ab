"""The page as a file: one, self-contained, with a policy that lets nothing else run."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pytest_execgo.core.bundle import bundled
from pytest_execgo.reporting.page.document import assets, document, embedded

PAGE = bundled("reports") / "page"


class Elements(HTMLParser):
    """What a browser would see of a page: elements with attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open.append(tag)
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, text = self.texts[-1]
            self.texts[-1] = (tag, text + data)


def hash_of(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def test_the_policy_names_the_very_script_and_style_and_nothing_else() -> None:
    seen = Elements(document({"a": 1}, ["block"]))
    policy = next(values["content"] for tag, values in seen.found if tag == "meta" and values.get("http-equiv"))
    scripts = [text for tag, text in seen.texts if tag == "script"]
    styles = [text for tag, text in seen.texts if tag == "style"]
    assert policy is not None
    assert dict(part.strip().split(" ", 1) for part in policy.split(";")) == {
        "default-src": "'none'",
        "script-src": hash_of(scripts[-1]),
        "style-src": hash_of(styles[0]),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert len(styles) == 1


def test_no_element_loads_anything_or_carries_a_handler_or_a_style() -> None:
    seen = Elements(document({}, []))
    for tag, values in seen.found:
        assert not {name for name in values if name.startswith("on") or name in ("src", "style", "srcset", "action")}, (tag, values)
        assert values.get("href", "data:").startswith("data:"), (tag, values)  # type: ignore[union-attr]
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", assets().style + assets().script)


def test_the_script_puts_data_into_the_page_as_text_only() -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|setAttribute\('(?:on|style|href)"
    assert not re.search(forbidden, assets().script)


@pytest.mark.parametrize(
    "hostile",
    ["</script><script>alert(1)</script>", "<!--<script>", "]]>", "\u2028\u2029", "\ud800", "&lt;", "<!--data-->", "\x00"],
)
def test_what_is_embedded_can_not_leave_its_element(hostile: str) -> None:
    index = {"texts": [hostile], hostile: 1}
    page = document(index, [])
    seen = Elements(page)
    texts = [text for tag, text in seen.texts if tag == "script"]
    assert [tag for tag, _ in seen.texts] == ["style", *["script"] * 4]
    assert json.loads(texts[1]) == index
    assert page.encode("utf-8")  # no lone surrogate is left
    assert embedded(index).isascii()
    assert not re.search("[<>&]", embedded(index))


def test_data_that_looks_like_a_place_of_the_template_stays_data() -> None:
    page = document({"text": "<!--script-->"}, ["<!--style-->"])
    assert page.count(assets().script) == 1
    assert page.count(assets().style) == 1


def test_the_languages_say_the_same_things_with_the_same_places_for_values() -> None:
    texts = json.loads((PAGE / "texts.json").read_text("utf-8"))
    assert set(texts) == {"en", "zh"}
    assert texts["en"].keys() == texts["zh"].keys()
    for key, english in texts["en"].items():
        places = set(re.findall(r"\{\w+\}", english))
        assert set(re.findall(r"\{\w+\}", texts["zh"][key])) == places, key
        assert english.strip(), key
        assert texts["zh"][key].strip(), key


def test_every_text_that_the_script_asks_for_is_there_and_every_one_that_is_there_is_asked_for() -> None:
    script = "".join(file.read_text("utf-8") for file in sorted((PAGE / "js").glob("*.js")))
    texts = json.loads((PAGE / "texts.json").read_text("utf-8"))["en"]
    asked = set(re.findall(r"\bt\('([^']+)'", script))
    asked |= {f"{key}.{form}" for key in re.findall(r"\bcounted\('([^']+)'", script) for form in ("one", "other")}
    assert asked <= texts.keys(), asked - texts.keys()
    families = set(re.findall(r"\bword\('([^']+)'", script)) | {"theme", "axis", "stat", "look", "file", "key"}
    literal = set(re.findall(r"'([a-z_.]+)'", script)) | {"language_name"}
    unused = {key for key in texts if key not in asked | literal and key.split(".")[0] not in families}
    assert unused == set()


@pytest.mark.parametrize("file", sorted([*(PAGE / "js").glob("*"), *(PAGE / "css").glob("*")]), ids=lambda file: file.name)
def test_the_parts_of_the_page_are_of_moderate_size(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= 300
