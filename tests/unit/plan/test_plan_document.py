"""Files that people write: values, lines, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_execgo.core.document import SourceDocument, read_document
from pytest_execgo.core.document_json import parse_json
from pytest_execgo.core.errors import UsageError

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy


def read(folder: Path, name: str, text: str | bytes) -> SourceDocument:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_document(path)


YAML = """\
# a comment
id: no
day: 2024-01-01
count: 012
share: 1e3
tools:
  - os.file
  - {name: "a\\/b", on: ~}
base: &base [1, 2]
again: *base
'a.b':
  text: |
    two
    lines
  last:
"""


def test_yaml_gives_json_values_by_the_core_schema(tmp_path: Path) -> None:
    document = read(tmp_path, "a.yaml", YAML)
    assert document.data == {
        "id": "no",
        "day": "2024-01-01",
        "count": 12,
        "share": 1000.0,
        "tools": ["os.file", {"name": "a/b", "on": None}],
        "base": [1, 2],
        "again": [1, 2],
        "a.b": {"text": "two\nlines\n", "last": None},
    }
    assert document.data["base"] is not document.data["again"]
    expected = {
        "$.id": 2,
        "$.tools": 6,
        "$.tools[0]": 7,
        "$.tools[1].on": 8,
        "$.again": 10,
        "$['a.b'].text": 12,
        "$['a.b'].last": 15,
    }
    assert {path: document.lines[path] for path in expected} == expected
    assert document.where("$.tools[1].unheard.of[3]") == f"{tmp_path}/a.yaml:8"
    assert document.where("$.unheard") == f"{tmp_path}/a.yaml:2", "the root stands where its first field does"


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("True", True),
        ("1:30", "1:30"),
        ("0x1F", 31),
        ("0o17", 15),
        (".5", 0.5),
        ("-3", -3),
        ("Null", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("1_000", "1_000"),
        ("", None),
        ("1.", 1.0),
        ("=", "="),
    ],
)
def test_yaml_scalars(tmp_path: Path, scalar: str, value: Any) -> None:
    found = read(tmp_path, "a.yml", f"x: {scalar}\n").data["x"]
    assert (found, type(found)) == (value, type(value))


def test_toml_values_and_lines(tmp_path: Path) -> None:
    text = 'id = "x"\n\n# c\nday = 2024-01-01\nat = 10:30:00\n[a.b]\nlist = [1,\n  2]\nq.r = """\n[no.table]\n"""\n'
    text += '[[faults]]\nn = 1\n[faults.trigger]\nphase = "poll"\n[[faults]]\nn = 2\n[[faults.parts]]\nz = {k = 1}\n'
    document = read(tmp_path, "a.toml", text)
    assert document.data["day"] == "2024-01-01"
    assert document.data["at"] == "10:30:00"
    assert document.data["a"] == {"b": {"list": [1, 2], "q": {"r": "[no.table]\n"}}}
    expected = {
        "$.id": 1,
        "$.day": 4,
        "$.a.b": 6,
        "$.a.b.list": 7,
        "$.a.b.q.r": 9,
        "$.faults[0]": 12,
        "$.faults[0].n": 13,
        "$.faults[0].trigger.phase": 15,
        "$.faults[1]": 16,
        "$.faults[1].n": 17,
        "$.faults[1].parts[0].z.k": 19,
    }
    assert {path: document.lines[path] for path in expected} == expected
    assert document.line_of("$.a.b.list[1]") == 7


def test_a_very_long_toml_statement_only_costs_the_lines_after_it(tmp_path: Path) -> None:
    text = "a = 1\nlong = [\n" + "  1,\n" * 500 + "]\nz = 2\n"
    document = read(tmp_path, "a.toml", text)
    assert len(document.data["long"]) == 500
    assert (document.line_of("$.a"), document.line_of("$.z")) == (1, 1)


def test_json_values_and_lines(tmp_path: Path) -> None:
    text = '{"a": 1,\n "b": [1, {}, [],\n  {"c.d": "x\\"y{,\\n"}],\n\n "e": {}, "f": "\\ud83d\\ude00"}'
    document = read(tmp_path, "a.json", text.encode("utf-8-sig"))
    assert document.data == json.loads(text)
    assert dict(document.lines) == {
        "$": 1,
        "$.a": 1,
        "$.b": 2,
        "$.b[0]": 2,
        "$.b[1]": 2,
        "$.b[2]": 2,
        "$.b[3]": 3,
        "$.b[3]['c.d']": 3,
        "$.e": 5,
        "$.f": 5,
    }


@CALM
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    )
)
def test_every_json_value_has_a_line(value: Any) -> None:
    text = json.dumps(value, indent=1)
    data, lines = parse_json(Path("x.json"), text)
    assert data == value

    def count(part: Any) -> int:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return 1 + sum(map(count, inner))

    assert len(lines) == count(value)
    assert list(lines.values()) == sorted(lines.values())


LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))]
)

REFUSED = [
    ("dup.yaml", "a: 1\nb: 2\na: 3\n", ":3:1: field 'a' stands here again; first on line 1"),
    ("dup_inner.yaml", "x:\n  - k: 1\n    k: 2\n", ":3:5: field 'k' stands here again; first on line 2"),
    ("dup.json", '{"a": 1,\n"b": {"c": 2,\n "c": 3}}', ":3:2: field 'c' stands here again; first on line 2"),
    ("dup_escaped.json", '{"a": 1, "\\u0061": 2}', ":1:10: field 'a' stands here again; first on line 1"),
    ("dup.toml", "a = 1\na = 2\n", ":2:"),
    ("laughs.yaml", LAUGHS, "aliases stand for more than 10000 values"),
    ("ring.yaml", "a: &x [*x]", ":1:4: an alias stands for something that holds the alias itself"),
    ("object.yaml", "a: !!python/object/apply:os.system ['true']", ":1:4: tag !!python/object/apply:os.system is not allowed"),
    ("binary.yaml", "a: !!binary aGk=", ":1:4: tag !!binary is not allowed"),
    ("set.yaml", "a: !!set {x}", ":1:4: tag !!set is not allowed"),
    ("custom.yaml", "a: !mine x", ":1:4: tag !mine is not allowed"),
    ("merge.yaml", "x: &a {b: 1}\ny:\n  <<: *a\n", ":3:3: merge keys"),
    ("number_key.yaml", "a:\n  1: x\n", ":2:3: the field's name '1' is not text"),
    ("list_key.yaml", "? [a]\n: 1\n", ":1:3: a list or mapping stands as a field's name"),
    ("two.yaml", "a: 1\n---\nb: 2\n", ":2:1: "),
    ("open.yaml", "a: [1,\n b: }", ":2:5: "),
    ("quote.yaml", "a: 'x", ":1:6: "),
    ("tab.yaml", "a:\n\tb: 1\n", ":2:1: "),
    ("control.yaml", "a: 1\nb: \x01\n", ":2:4: "),
    ("digits.yaml", "a: " + "9" * 5000, ":1:4: "),
    ("deep.yaml", "a: " + "[" * 5000, "nested too deeply"),
    ("tagged.yaml", "a: !!int x", ":1:4: 'x' can't be read as a number"),
    ("inf.yaml", "a: 1\nb: [.inf]\nc: .nan\n", ":2: $.b[0]: is the number inf"),
    ("surrogate.yaml", 'a: "\\ud800"', ":1: $.a: holds half a surrogate pair"),
    ("surrogate.json", '{"a":\n "\\ud800"}', ":1: $.a: holds half a surrogate pair"),
    ("nan.json", '{"a": NaN}', ":1: $.a: is the number nan"),
    ("overflow.json", '{"a": 1e999}', ":1: $.a: is the number inf"),
    ("nan.toml", "a = 1\nb = nan\n", ":2: $.b: is the number nan"),
    ("digits.json", '{"a": ' + "9" * 5000 + "}", "5000 digits"),
    ("deep.json", "[" * 100_000, "nested too deeply"),
    ("levels.json", '{"a": ' + "[" * 150 + "]" * 150 + "}", "is nested more than 100 levels deep"),
    ("comma.json", '{"a": 1,\n}', ":2:1: "),
    ("open.toml", "a = 1\nb = [1", ":2:1: "),
    ("value.toml", "a = 1\nb = ?\n", ":2:5: "),
    ("empty.yaml", "# nothing\n", ":1:1: found an empty file"),
    ("list.yaml", "- 1\n", ":1:1: found a list of 1"),
    ("text.json", '"x"', ':1:1: found the text "x"'),
    ("latin.yaml", b"a: 1\nb: \xff\n", ":2:4: not UTF-8 text"),
]


@pytest.mark.parametrize(("name", "text", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused_with_place_and_reason(tmp_path: Path, name: str, text: str | bytes, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, name, text)
    assert str(tmp_path / name) in str(caught.value)
    assert words in str(caught.value)
    assert caught.value.code == "malformed_file"
    assert len(str(caught.value)) < 1000


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml: No such file"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match=r"\.txt is no known format\n.*allowed: \.yaml, \.yml, \.json, \.toml"):
        read_document(tmp_path / "a.txt")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UsageError, match=r"folder\.yaml: Is a directory"):
        read_document(tmp_path / "folder.yaml")
