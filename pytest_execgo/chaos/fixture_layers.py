"""Several faults of the fixtures service at once, as its one mode."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from pytest_execgo.plan.fault import FixturesControl

SUFFERED = ("latency", "error", "inject")
"""What requests suffer, as the service counts it (see `fixtures_service/faults.py`)."""
_OWN_FIELDS = {
    "latency": ("latency_ms",),
    "error": ("error_mode", "error_rate", "count", "seed"),
    "inject": ("inject",),
}


class Layer:
    """One fault's part in the mode: what requests suffer from it, and the fields of the mode that say how."""

    def __init__(self, layers: FixtureLayers, suffered: str, fields: Mapping[str, Any]) -> None:
        self.suffered = suffered
        self.fields = dict(fields)
        self.seen = 0
        self._layers = layers

    def lift(self) -> None:
        """Take this fault out of the mode; the others stay. Safe to call twice."""
        self._layers.remove(self)

    def hits(self) -> int:
        """Return how many requests have suffered from this fault until it was lifted, or last looked at."""
        return self.seen


class FixtureLayers:
    """A fixtures service's control plane on which faults lie one upon the other.

    Latencies add up; of two kinds of error, or of two texts, the one that came last counts; routes are those of all faults
    together, every one if any fault is about every one.
    """

    def __init__(self, control: FixturesControl) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._base: dict[str, Any] = {}
        self._layers: list[Layer] = []

    @classmethod
    def over(cls, control: FixturesControl) -> FixtureLayers:
        """Return layers over a control plane; over layers, themselves."""
        return control if isinstance(control, cls) else cls(control)

    def set_mode(self, mode: Mapping[str, Any]) -> None:
        """Replace what lies beneath all faults."""
        with self._lock:
            self._base = dict(mode)
            self._show()

    def hits(self) -> Mapping[str, int]:
        """Return what the service counts."""
        return self._control.hits()

    def set_model(self, order: Mapping[str, Any]) -> None:
        """Order a fault of the scripted model, which has one at a time."""
        self._control.set_model(order)

    def model_hits(self) -> Mapping[str, int]:
        """Return what the model counts."""
        return self._control.model_hits()

    def add(self, suffered: str, fields: Mapping[str, Any]) -> Layer:
        """Put a fault on top of the others; in force when this returns."""
        layer = Layer(self, suffered, fields)
        with self._lock:
            self._layers.append(layer)
            try:
                self._show()
            except Exception:
                self._layers.remove(layer)
                raise
        return layer

    def remove(self, layer: Layer) -> None:
        """Take a fault out, whichever it is."""
        with self._lock:
            if layer in self._layers:
                self._layers.remove(layer)
                self._show(leaving=layer)

    def _show(self, leaving: Layer | None = None) -> None:
        """Count what was suffered so far (a new mode counts anew), then set what all faults make together."""
        suffered = self._control.hits()
        for layer in (*self._layers, *([leaving] if leaving else ())):
            layer.seen += suffered.get(layer.suffered, 0)
        self._control.set_mode(self._together())

    def _together(self) -> dict[str, Any]:
        mode = dict(self._base)
        for layer in self._layers:
            for name in _OWN_FIELDS[layer.suffered]:
                if name == "latency_ms":
                    mode[name] = mode.get(name, 0) + layer.fields[name]
                elif name in layer.fields:
                    mode[name] = layer.fields[name]
            _spend(mode, layer)
        routes = [layer.fields.get("routes") for layer in self._layers]
        if routes and all(routes):
            mode["routes"] = sorted({route for some in routes for route in some or ()})
        elif routes:
            mode.pop("routes", None)
        return mode


def _spend(mode: dict[str, Any], layer: Layer) -> None:
    """Leave of a bounded number of errors what is left, since a new mode counts anew."""
    if layer.suffered == "error" and "count" in layer.fields:
        mode["count"] = layer.fields["count"] - layer.seen
        if mode["count"] <= 0:
            del mode["count"]
            mode["error_mode"] = "none"
