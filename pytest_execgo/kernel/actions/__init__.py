"""The action adapter (`adapter.v1`): agents' actions, translated into task graphs."""
