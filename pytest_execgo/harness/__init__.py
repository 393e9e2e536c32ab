"""Layer 4: brings kernel, runtime and fixtures service up, does things to them, takes them down."""
