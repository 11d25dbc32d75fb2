"""MCP in both directions: servers as sources of tools, and our tools as a server."""
