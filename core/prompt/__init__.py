"""The prompt: conversion between text, token ids and actions, shared by serving, training,
evaluation.

`render` turns a conversation into ids, by what `chat_format` has found in the model's template.
`content` tokenises what people and tools wrote, without control tokens. `grammar` defines how a
model writes thoughts, calls and answers, and reads them back; `preamble` describes that to the
model, and `form` holds its decoding to it.
"""
