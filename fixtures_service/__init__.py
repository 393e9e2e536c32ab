"""The service that scenarios talk to: an advisory feed, an effect sink, and the control plane that disturbs them.

A process of its own (`python -m fixtures_service`); it uses `pytest_execgo.core` and nothing else of the project.
"""
