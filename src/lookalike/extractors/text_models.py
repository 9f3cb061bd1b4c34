"""The text models that the package carries, and which of them a collection has that names none."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike.extractors.onnx.bundled import ModelFile

DEFAULTS = ("minilm-l6-v2", "bge-small-en-v1.5")
"""The default models of all versions, the oldest first; the last is that of new collections.

A collection writes down the model that it was made with. One that names none was made when the
first was the only one.
"""


@dataclass(frozen=True, slots=True)
class TextModel:
    """A network for token ids (n, length) → (n, dimension) of unit length, and its tokenizer.

    `gpu` tells that it may run on one: products of integers may not.
    """

    name: str
    file: ModelFile
    tokenizer: ModelFile
    start_id: int
    end_id: int
    unknown_id: int
    dimension: int
    gpu: bool


MODELS = {
    model.name: model
    for model in (
        TextModel(
            name="bge-small-en-v1.5",
            file=ModelFile(
                "bge-small-en-v1.5.onnx",
                "bdc61557691bad5a1091229c64503e36ac3703cb8d92f54d22461b928118c42f",
            ),
            tokenizer=ModelFile(
                "bge-small-en-v1.5.tokenizer.json",
                "9114256b104cca80e04367526f03f46aa3c443c2ed174904142a73bbf13b9fbb",
            ),
            start_id=101,
            end_id=102,
            unknown_id=100,
            dimension=384,
            gpu=False,
        ),
        TextModel(
            name="minilm-l6-v2",
            file=ModelFile(
                "minilm-l6-v2.onnx",
                "f3c0bdbc44881bdd7d647111b480e8f0f02f05cd5cb341a5ed8adf65ecd7efca",
            ),
            tokenizer=ModelFile(
                "minilm-l6-v2.tokenizer.json",
                "5fd1c882abbd30517dced455a2c9768945ec726b96727927e4959348d9de550b",
            ),
            start_id=101,
            end_id=102,
            unknown_id=100,
            dimension=384,
            gpu=True,
        ),
    )
}
"""The models that the package carries."""
