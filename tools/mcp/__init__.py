"""MCP both ways: servers that are sources of tools, and our tools offered as a server."""
