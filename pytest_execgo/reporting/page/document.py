"""One HTML file that loads nothing: the template, the style and the script of `reports/page`, and the data."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

from pytest_execgo.core.bundle import bundled

_UNSAFE = re.compile("[<>&\u2028\u2029]")
_SLOT = re.compile(r"<!--(policy|style|texts|data|blocks|script)-->")


@dataclass(frozen=True, slots=True)
class Assets:
    """The parts of the page that are the same for all sweeps."""

    template: str
    style: str
    script: str
    texts: str

    @property
    def policy(self) -> str:
        """The Content-Security-Policy: nothing is loaded, and only this very script and style are used."""
        script, style = (_hash(text) for text in (self.script, self.style))
        return f"default-src 'none'; script-src {script}; style-src {style}; img-src data:; base-uri 'none'; form-action 'none'"


@cache
def assets() -> Assets:
    """Read the page's parts. Files of script and style are joined in the order of their names; the script is one function."""
    folder = bundled("reports") / "page"
    scripts = [file.read_text("utf-8") for file in sorted((folder / "js").glob("*.js"))]
    styles = [file.read_text("utf-8") for file in sorted((folder / "css").glob("*.css"))]
    return Assets(
        template=(folder / "page.html").read_text("utf-8"),
        style="\n" + "\n".join(styles),
        script="\n(() => {\n'use strict';\n" + "\n".join(scripts) + "\n})();\n",
        texts=embedded(json.loads((folder / "texts.json").read_text("utf-8"))),
    )


def document(index: Mapping[str, Any], blocks: list[str]) -> str:
    """Return the page of a sweep."""
    parts = assets()
    slots = {
        "policy": parts.policy,
        "style": parts.style,
        "texts": parts.texts,
        "data": embedded(index),
        "blocks": "\n".join(blocks),
        "script": parts.script,
    }
    return _SLOT.sub(lambda match: slots[match[1]], parts.template)


def embedded(value: Any) -> str:
    r"""Return JSON that can stand in a `<script>`: nothing in it ends that element; what is not ASCII is `\uXXXX`."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
