"""What a request of the Responses API may say: body, tools, choice of tools; and its words."""
