"""The network between client, kernel, runtime and fixtures service: one TCP proxy a leg, which disturbs what passes on demand."""
