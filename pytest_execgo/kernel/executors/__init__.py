"""What runs tasks: os tools, the runtime, mcp, cli-skills."""
