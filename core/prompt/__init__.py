"""The prompt: between text, token ids and actions, the same way in serving, training, evaluation.

`render` turns a conversation into ids by what `chat_format` found in the model's template;
`content` tokenises what people and tools wrote, without control tokens. `grammar` is how a model
writes thoughts, calls and answers, and how that is read back; `preamble` tells the model so, and
`form` holds its decoding to it.
"""
