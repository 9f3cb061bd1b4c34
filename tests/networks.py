"""Small ONNX models for tests, with weights by chance, as files and as directories of a hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "rain", "sun", "card", "order", "late", "thanks")
DIMENSION = 8


def picture_model(
    path: Path,
    *,
    shape: Sequence[int | str] = ("n", 3, 32, 32),
    element: int = TensorProto.FLOAT,
    beside: str = "",
    seed: int = 0,
) -> Path:
    """Write a network of pictures: means of 8 × 8 pixels, as tokens of 3, and projected.

    Its outputs are `last_hidden_state` (n, 16, 3) and `image_embeds` (n, 8).
    """
    weights = np.random.default_rng(seed).normal(size=(48, DIMENSION)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["pixel_values"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("AveragePool", ["pixels"], ["means"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Reshape", ["means", "rows"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["last_hidden_state"], perm=[0, 2, 1]),
        helper.make_node("Flatten", ["means"], ["all"]),
        helper.make_node("MatMul", ["all", "weights"], ["image_embeds"]),
    ]
    return _written(
        path,
        nodes,
        [helper.make_tensor_value_info("pixel_values", element, list(shape))],
        {"last_hidden_state": ["n", 16, 3], "image_embeds": ["n", DIMENSION]},
        {"weights": weights, "rows": np.array([0, 3, -1], np.int64)},
        beside,
    )


def text_model(path: Path, *, length: int | str = "t", extra: Sequence[str] = ()) -> Path:
    """Write a network of texts, a table of words: `last_hidden_state` (n, t, 8)."""
    table = np.random.default_rng(1).normal(size=(len(WORDS), DIMENSION)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", length])
        for name in ("input_ids", "attention_mask", *extra)
    ]
    outputs = {"last_hidden_state": ["n", length, DIMENSION]}
    return _written(path, nodes, inputs, outputs, {"table": table}, "")


def tokenizer_file(path: Path) -> None:
    """Write a tokenizer of the few words, which marks start and end."""
    table = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(table, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(path))


def text_directory(folder: Path, **options: Any) -> Path:
    """Write a directory as sentence-transformers exports one."""
    (folder / "onnx").mkdir(parents=True)
    (folder / "1_Pooling").mkdir()
    text_model(folder / "onnx" / "model.onnx", **options)
    tokenizer_file(folder / "tokenizer.json")
    pooling = {"word_embedding_dimension": DIMENSION, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 6})
    return folder


def picture_directory(folder: Path, config: dict[str, Any], **options: Any) -> Path:
    """Write a directory as hubs have them for pictures."""
    folder.mkdir()
    picture_model(folder / "model.onnx", **options)
    write_json(folder / "preprocessor_config.json", config)
    return folder


def write_json(path: Path, value: Any) -> None:
    """Write a value as a JSON file."""
    path.write_text(json.dumps(value), "utf-8")


def _written(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: dict[str, list[Any]],
    weights: dict[str, np.ndarray[Any, Any]],
    beside: str,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save_model(
        model,
        str(path),
        save_as_external_data=bool(beside),
        location=beside or None,
        size_threshold=100,
    )
    return path
