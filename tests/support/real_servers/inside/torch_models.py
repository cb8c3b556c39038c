"""Makes models for AWS's PyTorch and Hugging Face containers: ``python torch_models.py DIRECTORY``.

Below DIRECTORY, ``double`` and ``triple`` are TorchScript, which multiplies; ``bert`` is a tiny model of Transformers,
with a tokenizer of six words, that takes every text for nine tenths POSITIVE. Nothing is fetched.
"""

import math
import sys
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fine")


class Multiply(torch.nn.Module):  # type: ignore[misc]
    """Multiplies by its one weight."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(number))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` times the weight."""
        return x * self.weight


def make_bert(directory: Path) -> None:
    """Write the model and its tokenizer."""
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=16,
        id2label={0: "NEGATIVE", 1: "POSITIVE"},
        label2id={"NEGATIVE": 0, "POSITIVE": 1},
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, math.log(9)]))
    model.save_pretrained(directory)
    (directory / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(directory / "vocab.txt")).save_pretrained(directory)


root = Path(sys.argv[1])
for name, number in (("double", 2.0), ("triple", 3.0)):
    (root / name).mkdir(parents=True)
    torch.jit.script(Multiply(number)).save(str(root / name / "model.pt"))
make_bert(root / "bert")
