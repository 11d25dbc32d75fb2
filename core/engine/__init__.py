"""The engine: token ids in, token ids out. Nothing above it knows what generates them.

`protocol` is the contract. The server runs vLLM behind it (`server/vllm/`), tests run `scripted`.
"""
