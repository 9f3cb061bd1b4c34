"""The bundled text models, and the default for a collection that names none."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike.extractors.onnx.bundled import ModelFile

DEFAULTS = ("minilm-l6-v2", "bge-small-en-v1.5")
"""The default models of all versions, oldest first; new collections get the last.

A collection stores the name of its model. One without a name was made when the first was the only
model.
"""


@dataclass(frozen=True, slots=True)
class TextModel:
    """A network from token ids (n, length) to unit vectors (n, dimension), and its tokenizer.

    `gpu`: it can run on a GPU; networks with products of integers cannot.
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
"""The models bundled with the package."""
