"""Where containers and this machine find each other."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from pytest_execgo.core.engine.connection import connect, engine_call
from pytest_execgo.core.errors import Unsupported
from pytest_execgo.harness.ports import HOST
from pytest_execgo.plan.stack import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

INNER_PORTS = {Service.KERNEL: 8080, Service.RUNTIME: 8081, Service.FIXTURES: 8082}
"""Where our services listen in their containers."""


def create_network(name: str, labels: Mapping[str, str]) -> str:
    """Make a network of our own, whose ports are published on loopback alone; return its id."""
    with engine_call(f"make the network {name}"):
        options = {"com.docker.network.bridge.host_binding_ipv4": HOST}
        made = connect().api.create_network(name, driver="bridge", options=options, labels=dict(labels))
        return str(made["Id"])


def host_address() -> str:
    """Return an address of this machine at which containers reach what listens on it: the default bridge's gateway.

    `Unsupported` where there is none that can be listened on, as where the engine runs in a virtual machine.
    """
    with engine_call("describe its default network"):
        networks = connect().api.networks(names=["bridge"])
    configured = [one for network in networks if network["Name"] == "bridge" for one in network["IPAM"]["Config"] or ()]
    for one in configured:
        subnet = ipaddress.ip_network(one["Subnet"], strict=False)
        address = one.get("Gateway") or str(subnet[1])
        if subnet.version == 4 and _can_listen(address):
            return address
    raise Unsupported(
        "no_host_address",
        "containers can't reach what listens on this machine: the engine's default bridge has no address of it",
        "use an engine that runs on this machine itself",
    )


def _can_listen(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
