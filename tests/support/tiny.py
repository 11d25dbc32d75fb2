"""Random little Llamas for tests: real files, real tokenizers, no download, the same every time.

`tiny_tokenizer` alone is fast; `tiny_llama` adds weights that transformers, vLLM and DeepSpeed
load. Neither imports torch.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from agentlm.prompt.render import Renderer

Template = Literal["chatml", "llama2"]

CORPUS = [
    (Path(__file__).parents[2] / "LICENSE").read_text(),
    "You are a helpful, respectful and honest assistant. The capital of France is Paris.\n" * 4,
    "Thought: I need to count the programs in /usr/bin that start with z.\n"
    'Action: bash\nAction Input: {"command": "ls /usr/bin | grep -c \'^z\'"}\n'
    "Observation: 12\nThought: I have the number.\nFinal Answer: 12 programs start with z.\n" * 4,
    'Action: sql\nAction Input: {"query": "SELECT name, COUNT(*) FROM track GROUP BY name"}\n' * 4,
    "How many? Who? What is the weather in Berlin? Hello! Thanks, it's done.\n" * 4,
]
"""What the merges are learned from: a long English text, and the forms that an agent writes."""


def tiny_llama(
    directory: Path,
    template: Template = "chatml",
    *,
    vocab: int = 2048,
    context: int = 4096,
    tied: bool = False,
    seed: int = 0,
) -> Path:
    """Write a 2-layer, 64-wide LlamaForCausalLM in float32 with its tokenizer; returns `directory`.

    `vocab` is an upper bound. Another `seed` gives other weights of the same shape, as training
    does.
    """
    tokenizer = tiny_tokenizer(directory, template, vocab=vocab, context=context)
    end = tokenizer.token_to_id(_end_of_turn(template))
    start = tokenizer.token_to_id("<s>") if template == "llama2" else end
    special = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": context,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        # Heads of 32: the narrowest that vLLM's attention on the CPU knows.
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        **special,
    }
    _write_json(directory / "config.json", config)
    _write_json(directory / "generation_config.json", special)
    _write_weights(directory / "model.safetensors", tokenizer.get_vocab_size(), tied, seed)
    return directory


def tiny_tokenizer(
    directory: Path, template: Template = "chatml", *, vocab: int = 2048, context: int = 4096
) -> Tokenizer:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja; returns the tokenizer.

    `chatml`: byte-level BPE with `<|im_start|>`, `<|im_end|>`, `<|endoftext|>`, as SmolLM2.
    `llama2`: sentencepiece-like BPE (`▁`, byte fallback, BOS added), as converted Llama tokenizers.
    """
    directory.mkdir(parents=True, exist_ok=True)
    text = _trained(template, vocab)
    (directory / "tokenizer.json").write_text(text)
    names: dict[str, Any] = (
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        if template == "llama2"
        else {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    )
    kind = "LlamaTokenizer" if template == "llama2" else "PreTrainedTokenizerFast"
    config = {"tokenizer_class": kind, "model_max_length": context, **names}
    config |= {"pad_token": names["eos_token"], "clean_up_tokenization_spaces": False}
    _write_json(directory / "tokenizer_config.json", config)
    source = files("agentlm").joinpath("templates", f"{template}.jinja").read_text()
    (directory / "chat_template.jinja").write_text(source)
    return Tokenizer.from_str(text)


def tiny_tokenizer_json(template: Template = "chatml") -> str:
    """The tokenizer.json of a tiny model, without any file."""
    return _trained(template, 2048)


def tiny_renderer(template: Template = "chatml", **options: Any) -> Renderer:
    """The renderer of a tiny model, without any file."""
    llama2 = template == "llama2"
    return Renderer(
        _trained(template, 2048),
        files("agentlm").joinpath("templates", f"{template}.jinja").read_text(),
        bos="<s>" if llama2 else "<|im_start|>",
        eos="</s>" if llama2 else "<|im_end|>",
        **options,
    )


LAYERS = 2
WIDTH = 64


def _end_of_turn(template: Template) -> str:
    return "</s>" if template == "llama2" else "<|im_end|>"


@cache
def _trained(template: Template, vocab: int) -> str:
    tokenizer = _llama2(vocab) if template == "llama2" else _chatml(vocab)
    return str(tokenizer.to_str(pretty=True))


def _chatml(vocab: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _llama2(vocab: int) -> Tokenizer:
    special = ["<unk>", "<s>", "</s>"]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
    )
    # As in Llama's own vocabulary, a line break is a byte token and part of no other.
    learner.train_from_iterator([text.replace("\n", " ") for text in CORPUS], trainer)
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    tokenizer = Tokenizer(
        models.BPE(learned["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    return tokenizer


def _write_weights(path: Path, vocab: int, tied: bool, seed: int) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    generator = np.random.default_rng(seed)
    shapes = {
        "self_attn.q_proj": (WIDTH, WIDTH),
        "self_attn.k_proj": (WIDTH // 2, WIDTH),
        "self_attn.v_proj": (WIDTH // 2, WIDTH),
        "self_attn.o_proj": (WIDTH, WIDTH),
        "mlp.gate_proj": (2 * WIDTH, WIDTH),
        "mlp.up_proj": (2 * WIDTH, WIDTH),
        "mlp.down_proj": (WIDTH, 2 * WIDTH),
    }
    weights = {"model.embed_tokens.weight": (vocab, WIDTH), "model.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        weights |= {f"{prefix}.{name}.weight": shape for name, shape in shapes.items()}
        weights[f"{prefix}.input_layernorm.weight"] = (WIDTH,)
        weights[f"{prefix}.post_attention_layernorm.weight"] = (WIDTH,)
    if not tied:
        weights["lm_head.weight"] = (vocab, WIDTH)
    arrays = {
        name: np.ones(shape, np.float32)
        if "norm" in name
        else 0.05 * generator.standard_normal(shape, np.float32)
        for name, shape in weights.items()
    }
    save_file(arrays, path, metadata={"format": "pt"})


def ends_its_turns(directory: Path) -> Path:
    """Change a `tiny_llama`: drawn at temperature 1, it ends its turns after a dozen tokens, and
    not after thousands. Returns `directory`."""
    from safetensors.numpy import load_file, save_file

    config = json.loads((directory / "config.json").read_text())
    weights = load_file(directory / "model.safetensors")
    weights["model.embed_tokens.weight"][:, 0] = 0.2  # much beside the others' 0.05
    weights["lm_head.weight"][:, 0] = 0.0
    weights["lm_head.weight"][config["eos_token_id"], 0] = 3.6
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
