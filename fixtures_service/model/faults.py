"""The faults of the scripted model: which one is in force, for whom, and how many requests have suffered from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fixtures_service.model.chat import Role
from pytest_execgo.core.bodies import HttpError

PlanFault = Literal["hallucinated_tool", "wrong_dependency", "missing_binding", "wrong_schema_version", "injected"]
TextFault = Literal["malformed_json", "truncated_json", "fenced_json", "prose_around_json"]
AnswerFault = Literal["duplicate_tool_call", "empty_choices", "refusal"]
StatusFault = Literal["status_400", "status_401", "status_429", "status_500"]
WireFault = Literal["stalled_stream", "slow_first_byte", "dropped"]
FaultName = PlanFault | TextFault | AnswerFault | StatusFault | WireFault
OF_PLANS = frozenset([*get_args(PlanFault), *get_args(TextFault), "duplicate_tool_call"])
"""Faults of what a plan says; a reviewer has none to say."""
_PARAMETERS: dict[str, set[str]] = {
    "hallucinated_tool": {"tool"},
    "injected": {"does"},
    "refusal": {"text", "plain"},
    "status_429": {"seconds"},
    "stalled_stream": {"chunks", "ms"},
    "slow_first_byte": {"ms"},
}
_Millis = Annotated[int, Field(ge=0, le=600_000)]


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Parameters(_Document):
    """What may be said beside a fault's name; what is left out has the default that `docs/live-planning.md` states."""

    seconds: Annotated[int, Field(ge=0, le=3600)] = 1
    ms: _Millis | None = None
    chunks: Annotated[int, Field(ge=0, le=10_000)] = 3
    text: Annotated[str, Field(min_length=1, max_length=1000)] = "I'm sorry, but I can't help with that request."
    plain: bool = False
    tool: Annotated[str, Field(min_length=1, max_length=200)] = "web_search"
    does: Literal["effect", "tool"] = "effect"


class ModelFault(_Document):
    """What is wrong with the model's answers, to the next `count` requests (null: to every one) in that role."""

    fault: FaultName | None = None
    count: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    role: Literal["planner", "reviewer", "any"] = "any"
    parameters: Parameters = Field(default_factory=Parameters)


class FaultInForce:
    """One fault while it is in force. `hits` counts the answers that suffered from it, `requests` all that were answered."""

    def __init__(self, fault: ModelFault) -> None:
        self.fault = fault
        self.hits: dict[Role, int] = {"planner": 0, "reviewer": 0}
        self.requests = {"planner": 0, "reviewer": 0, "repair": 0}

    def due(self, role: Role) -> ModelFault | None:
        """Return the fault that the next answer in a role is to suffer from."""
        fault = self.fault
        spent = fault.count is not None and sum(self.hits.values()) >= fault.count
        return fault if fault.fault is not None and fault.role in ("any", role) and not spent else None

    def shown(self) -> dict[str, Any]:
        """Return it as the control plane answers it."""
        given = self.fault.parameters.model_dump(exclude_unset=True)
        return {**self.fault.model_dump(), "parameters": given, "hits": self.hits, "requests": self.requests}


def parse_fault(document: Any) -> ModelFault:
    """Validate an order for a fault; an `HttpError` (400) lists every problem. `{}` is the order for none."""
    try:
        order = ModelFault.model_validate(document)
    except ValidationError as error:
        raise HttpError.from_validation(error, union_field="fault") from None
    allowed = _PARAMETERS.get(order.fault or "", set())
    told = f"takes {', '.join(sorted(allowed))}" if allowed else "takes no parameters"
    subject = order.fault or "no fault"
    problems = [(f"$.parameters.{name}", f"{subject} {told}") for name in sorted(order.parameters.model_fields_set - allowed)]
    if order.fault in OF_PLANS and order.role == "reviewer":
        problems.append(("$.role", f"{order.fault} spoils a plan, and a reviewer answers none; allowed: planner, any"))
    if problems:
        raise HttpError.invalid(problems)
    return order
