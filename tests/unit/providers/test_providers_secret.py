"""A secret shows nowhere but where it is asked for by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import pprint
import traceback

import pytest

from pytest_execgo.plan.model import ModelProfile
from pytest_execgo.plan.provider import ModelAccess, ModelChoice, Secret
from pytest_execgo.providers.openai import openai_provider

KEY = "sk-canary-5521"
ACCESS = ModelAccess("https://h/v1", ModelProfile(model="m"), Secret(KEY), {"X-Org": KEY})


def test_it_is_there_for_who_asks() -> None:
    assert Secret(KEY).reveal() == KEY
    assert (Secret(KEY), {Secret(KEY)}) == (Secret(KEY), {Secret(KEY)})
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY
    assert (bool(Secret(KEY)), bool(Secret())) == (True, False)


def test_it_shows_as_stars() -> None:
    secret = Secret(KEY)
    assert {repr(secret), str(secret), f"{secret}", f"{secret!r}"} == {"***"}


@pytest.mark.parametrize("holder", [Secret(KEY), ACCESS, [ACCESS], {"a": ACCESS}])
def test_no_way_of_writing_its_holder_shows_it(holder: object) -> None:
    assert KEY not in repr(holder)
    assert KEY not in str(holder)
    assert KEY not in pprint.pformat(holder)
    assert KEY not in repr(copy.deepcopy(holder))
    with pytest.raises(TypeError):
        pickle.dumps(holder)
    with pytest.raises(TypeError):
        json.dumps(holder)


def test_a_holder_turned_into_a_dictionary_still_hides_it() -> None:
    assert dataclasses.asdict(ACCESS)["api_key"] is ACCESS.api_key
    assert copy.copy(ACCESS.api_key) is ACCESS.api_key


def test_a_provider_and_a_traceback_with_its_locals_hide_it() -> None:
    provider = openai_provider(ModelChoice("m"), {"OPENAI_API_KEY": KEY, "OPENAI_ORG_ID": KEY}, "")
    access = provider.access("s", "f", 1)
    assert access.api_key.reveal() == KEY
    try:
        raise ValueError(f"{provider} {access}")
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "provider = " in shown
    assert KEY not in shown
