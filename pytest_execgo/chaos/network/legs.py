"""The legs of a stack's network. Apart from what disturbs them, since most runs need no more than their names."""

from __future__ import annotations

LEGS = ("client-kernel", "kernel-runtime", "kernel-fixtures")
"""Each is named by its near side and its upstream."""
