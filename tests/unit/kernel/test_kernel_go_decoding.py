"""Go's JSON rules: its words for what is wrong, its ways with what is right."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.syntax import GoJSONError, end_of_value
from pytest_execgo.kernel.golang.time import Moment

_INNER = kinds.Struct("Inner", "models.Inner", {"n": kinds.Int(), "t": kinds.Time()}, pointer=True)
OUTER = kinds.Struct(
    "Outer",
    "models.Outer",
    {
        "name": kinds.String(),
        "flag": kinds.Bool(),
        "raw": kinds.Raw(),
        "list": kinds.Slice(kinds.String(), "[]string"),
        "items": kinds.Slice(_INNER, "[]*models.Inner"),
        "map": kinds.StringMap(kinds.String(), "map[string]string"),
        "any": kinds.Anything(),
        "wide": kinds.Int("int64"),
    },
    often_plain=True,
)


def read(body: str | bytes) -> Any:
    return decoding.decode_first(body.encode() if isinstance(body, str) else body, OUTER)


def refusal(body: str | bytes) -> str:
    with pytest.raises(GoJSONError) as caught:
        read(body)
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "EOF"),
        (" \n\t ", "EOF"),
        ("{", "unexpected EOF"),
        ('{"raw":[1,{"a":', "unexpected EOF"),
        ('{"name":"abc', "unexpected EOF"),
        ('{"raw":tru', "unexpected EOF"),
        ("-", "unexpected EOF"),
        ("1e", "unexpected EOF"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ("'", r"invalid character '\'' looking for beginning of value"),
        ("\x00", r"invalid character '\x00' looking for beginning of value"),
        ("\ufeff{}", "invalid character 'ï' looking for beginning of value"),
        (b"\xff", "invalid character 'ÿ' looking for beginning of value"),
        (b"\x80", r"invalid character '\u0080' looking for beginning of value"),
        ("NaN", "invalid character 'N' looking for beginning of value"),
        ('{"raw":Infinity}', "invalid character 'I' looking for beginning of value"),
        ('{"raw":-Infinity}', "invalid character 'I' in numeric literal"),
        ('{"raw":[1,]}', "invalid character ']' looking for beginning of value"),
        ('{"raw":[1 2]}', "invalid character '2' after array element"),
        ('{"raw":[}', "invalid character '}' looking for beginning of value"),
        ("{x:1}", "invalid character 'x' looking for beginning of object key string"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        ('{"a":01}', "invalid character '1' after object key:value pair"),
        ('{"a":1.}', "invalid character '}' after decimal point in numeric literal"),
        ('{"a":1e+}', "invalid character '}' in exponent of numeric literal"),
        ('{"a":-x}', "invalid character 'x' in numeric literal"),
        ('{"a":nul}', "invalid character '}' in literal null (expecting 'l')"),
        ('{"a":tx}', "invalid character 'x' in literal true (expecting 'r')"),
        ('{"a":faLse}', "invalid character 'L' in literal false (expecting 'l')"),
        ('{"a":"\n"}', r"invalid character '\n' in string literal"),
        ('{"a":"\\x"}', "invalid character 'x' in string escape code"),
        ('{"a":"\\u12G4"}', "invalid character 'G' in \\u hexadecimal character escape"),
        ('{"a\x01":1}', r"invalid character '\x01' in string literal"),
        pytest.param("[" * 100_000, "invalid character '[' exceeded max depth", id="100k-arrays"),
        pytest.param('{"raw":' + "[" * 10_000, "invalid character '[' exceeded max depth", id="one-too-deep"),
        pytest.param('{"a":' * 10_001, "invalid character '{' exceeded max depth", id="objects-too-deep"),
    ],
)
def test_syntax_errors_are_gos(body: str | bytes, message: str) -> None:
    assert refusal(body) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[]", "json: cannot unmarshal array into Go value of type models.Outer"),
        ("5 x", "json: cannot unmarshal number into Go value of type models.Outer"),
        ('"a"', "json: cannot unmarshal string into Go value of type models.Outer"),
        ("true", "json: cannot unmarshal bool into Go value of type models.Outer"),
        ('{"name":5}', "json: cannot unmarshal number into Go struct field Outer.name of type string"),
        ('{"NAME":{}}', "json: cannot unmarshal object into Go struct field Outer.name of type string"),
        ('{"flag":"x"}', "json: cannot unmarshal string into Go struct field Outer.flag of type bool"),
        ('{"wide":1.5}', "json: cannot unmarshal number 1.5 into Go struct field Outer.wide of type int64"),
        ('{"wide":1e3}', "json: cannot unmarshal number 1e3 into Go struct field Outer.wide of type int64"),
        (
            '{"wide":9223372036854775808}',
            "json: cannot unmarshal number 9223372036854775808 into Go struct field Outer.wide of type int64",
        ),
        ('{"list":"a"}', "json: cannot unmarshal string into Go struct field Outer.list of type []string"),
        ('{"list":["a",1]}', "json: cannot unmarshal number into Go struct field Outer.list of type string"),
        ('{"items":{}}', "json: cannot unmarshal object into Go struct field Outer.items of type []*models.Inner"),
        ('{"items":[7]}', "json: cannot unmarshal number into Go struct field Outer.items of type models.Inner"),
        ('{"items":[{"n":"x"}]}', "json: cannot unmarshal string into Go struct field Inner.items.n of type int"),
        ('{"map":[]}', "json: cannot unmarshal array into Go struct field Outer.map of type map[string]string"),
        ('{"map":{"a":1}}', "json: cannot unmarshal number into Go struct field Outer.map of type string"),
        ('{"any":[1e999]}', "json: cannot unmarshal number 1e999 into Go struct field Outer.any of type float64"),
        ('{"name":1,"flag":2}', "json: cannot unmarshal number into Go struct field Outer.name of type string"),
        ('{"name":1,"flag":}', "invalid character '}' looking for beginning of value"),
        ('{"name":1,"items":[{"t":5}]}', "Time.UnmarshalJSON: input is not a JSON string"),
        (
            '{"items":[{"t":"later"}]}',
            'parsing time "later" as "2006-01-02T15:04:05Z07:00": cannot parse "later" as "2006"',
        ),
        ('{"items":[{"t":"2026-13-01T00:00:00Z"}]}', 'parsing time "2026-13-01T00:00:00Z": month out of range'),
        ('{"items":[{"t":"2026-02-30T00:00:00Z"}]}', 'parsing time "2026-02-30T00:00:00Z": day out of range'),
    ],
)
def test_type_errors_are_gos_and_the_first_one_counts(body: str, message: str) -> None:
    assert refusal(body) == message


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("null", None),
        ("{}garbage", {}),
        ('{"unknown":[{"a":[]}]}', {}),
        ('{"name":null,"list":null,"raw":null}', {"name": None, "list": None, "raw": None}),
        ('{"name":"a","Name":"b"}', {"name": "b"}),
        ('{"name":"a","name":null}', {"name": "a"}),
        ('{"LI\u017fT":["x"]}', {"list": ["x"]}),
        ('{"na\\u006de":"x"}', {"name": "x"}),
        ('{"items":[{"n":1},{"n":2}],"items":[{"t":null}]}', {"items": [{"n": 1, "t": None}]}),
        ('{"map":{"a":"1"},"map":{"b":"2"}}', {"map": {"a": "1", "b": "2"}}),
        ('{"items":[null]}', {"items": [None]}),
        ('{"name":"\\ud800x\\ud83d\\ude00"}', {"name": "\ufffdx\U0001f600"}),
        (b'{"name":"a\xe4\xb8"}', {"name": "a\ufffd\ufffd"}),
        ('{"name":"\\u0000"}', {"name": "\x00"}),
        ('{"wide":-9223372036854775808}', {"wide": -(2**63)}),
        (
            '{"items":[{"t":"2026-01-02T03:04:05.25+02:00"}]}',
            {"items": [{"t": Moment(1767315845_250000000, 7200)}]},
        ),
    ],
)
def test_what_go_accepts_is_accepted_as_go_does(body: str | bytes, value: Any) -> None:
    assert read(body) == value


def test_raw_values_stay_as_they_were_sent() -> None:
    raw = '{ "b" : 1.50e3 ,\t"a": [ 12345678901234567890123 , "x y\\u00e9" ] , "b":2, "t":"<&>" }'
    expected = '{"b":1.50e3,"a":[12345678901234567890123,"x y\\u00e9"],"b":2,"t":"\\u003c\\u0026\\u003e"}'
    assert read(f'{{"raw":{raw}}}') == {"raw": expected}


def test_depths_that_python_does_not_like_are_read() -> None:
    deep = "[" * 9_999 + "]" * 9_999
    assert read('{"raw":' + deep + ',"name":"x"}') == {"raw": deep, "name": "x"}


def test_a_number_of_5000_digits_is_just_text() -> None:
    digits = "9" * 5_000
    assert read(f'{{"raw":{digits}}}') == {"raw": digits}
    assert refusal(f'{{"wide":{digits}}}').startswith(f"json: cannot unmarshal number {digits} into")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unexpected end of JSON input"),
        ('{"name":"x"', "unexpected end of JSON input"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("]", "invalid character ']' looking for beginning of value"),
    ],
)
def test_a_whole_text_is_held_to_its_end(text: str, message: str) -> None:
    with pytest.raises(GoJSONError) as caught:
        decoding.decode(text, OUTER)
    assert str(caught.value) == message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.sampled_from([None, 1]), st.booleans())
def test_any_json_is_seen_whole_by_both_paths(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert end_of_value(text.encode("utf-8", "surrogatepass").decode("latin-1")) == len(text.encode("utf-8", "surrogatepass"))
    echoed = read(('{"raw":' + text + "}").encode("utf-8", "surrogatepass"))["raw"]
    if value is None:
        assert echoed is None
    elif ascii_only:
        assert json.loads(echoed) == value
        assert "\n" not in echoed


@given(st.text(alphabet='{}[]":,\\ue019.-tfn \n', max_size=14))
def test_the_quick_and_the_exact_path_agree_on_what_is_json(text: str) -> None:
    try:
        end: int | None = end_of_value(text)
    except GoJSONError:
        end = None
    try:
        value = decoding.decode_first(text.encode(), kinds.Raw())
    except GoJSONError:
        assert end is None
    else:
        assert end is not None
        assert value is None or json.loads(value) == json.loads(text[:end])


_PLAIN_MEMBERS = st.tuples(
    st.sampled_from(["name", "list", "wide", "raw", "NAME", "other"]),
    st.text(max_size=4)
    | st.integers(-(2**64), 2**64)
    | st.none()
    | st.lists(st.text(max_size=3) | st.none(), max_size=3)
    | st.floats(0, 1),
)


@given(st.lists(st.lists(_PLAIN_MEMBERS, max_size=4), max_size=4), st.booleans())
def test_objects_read_in_one_step_are_read_as_member_by_member(objects: list[list[tuple[str, Any]]], ascii_only: bool) -> None:
    def encoded(value: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii_only)

    bodies = ["{" + ", ".join(f"{encoded(name)}:{encoded(value)}" for name, value in members) + "}" for members in objects]
    text = ("[" + ",".join(bodies) + "]").encode("utf-8", "replace")
    assert outcome(text, OUTER) == outcome(text, replace(OUTER, often_plain=False))


def outcome(text: bytes, kind: kinds.Struct) -> Any:
    try:
        return decoding.decode_first(text, kinds.Slice(kind, "[]models.Outer"))
    except GoJSONError as error:
        return str(error)
