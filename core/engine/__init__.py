"""The engine: token ids in, token ids out. Nothing above it knows what generates.

`protocol` is the contract; the server runs vLLM behind it (`server/vllm/`), tests run `scripted`.
"""
