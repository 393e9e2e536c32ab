"""The container engine: reached, or said plainly to be missing; what we start in it is ours, marked, and gone with us."""
