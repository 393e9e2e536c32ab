"""The scripted model: an OpenAI-compatible service that plays the planner and the reviewer of each scenario.

POST /model/<scenario>/<form>/<seed>/v1/chat/completions, GET …/v1/models. Everything it says follows from the path and the
request; its faults are ordered through PUT /control/model. docs/live-planning.md describes both.
"""
