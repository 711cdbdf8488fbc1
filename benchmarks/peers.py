"""Other people's software as a contender: peers.py NAME FOLDER DEVICE. It runs in the environment of setup_peers.sh,
and imports nothing of coldlm."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from contender import serve

DEVICE = sys.argv[3]
"""cpu or cuda; what cannot use a GPU does without."""

BATCH = 32
TOKENS = 128
RATE = 2e-5
AS_GIVEN: dict[str, Any] = {
    "per_device_train_batch_size": BATCH,
    "num_train_epochs": 1,
    "learning_rate": RATE,
    "use_cpu": DEVICE == "cpu",
    "report_to": [],
    "save_strategy": "no",
    "logging_strategy": "no",
    "disable_tqdm": True,
}
"""What both trainers are told; all else is as they come."""


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())


def classifier(folder: Path) -> tuple[Any, Any]:
    """Tokenizer, and a model that classifies pairs, as it comes."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    path = read(folder, "encoder")
    model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=1)
    return AutoTokenizer.from_pretrained(path), model.to(DEVICE)


def plain_loop(folder: Path) -> None:
    """The loop that a tutorial has: pairs padded to 128 tokens, full fine-tuning, batches of 32."""
    tokenizer, model = classifier(folder)
    pairs, optimiser, at = read(folder, "pairs"), torch.optim.AdamW(model.parameters(), RATE), 0
    model.train()

    def work() -> int:
        nonlocal at
        users, items, labels = zip(
            *(pairs[(at + i) % len(pairs)] for i in range(BATCH)), strict=True
        )
        at += BATCH
        ids = tokenizer(
            list(users),
            list(items),
            padding="max_length",
            truncation=True,
            max_length=TOKENS,
            return_tensors="pt",
        ).to(DEVICE)
        loss = F.binary_cross_entropy_with_logits(
            model(**ids).logits[:, 0], torch.tensor(labels, device=DEVICE).float()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return BATCH

    serve(work)


def hf_trainer(folder: Path) -> None:
    """Hugging Face's Trainer on the same pairs, padded to the longest of a batch."""
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    tokenizer, model = classifier(folder)
    users, items, labels = zip(*read(folder, "pairs")[: 2 * BATCH], strict=True)
    ids = tokenizer(list(users), list(items), truncation=True, max_length=TOKENS)
    data = Dataset.from_dict({**ids, "labels": [float(label) for label in labels]})

    def work() -> int:
        with tempfile.TemporaryDirectory() as output:
            said = TrainingArguments(output, **AS_GIVEN)
            Trainer(
                model, said, train_dataset=data, data_collator=DataCollatorWithPadding(tokenizer)
            ).train()
        return len(data)

    serve(work)


def st_trainer(folder: Path) -> None:
    """sentence-transformers' trainer on (text of a user, text of an item), in-batch negatives."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    model = SentenceTransformer(read(folder, "encoder"), device=DEVICE)
    model.max_seq_length = TOKENS
    users, items, _ = zip(*read(folder, "pairs")[: 2 * BATCH], strict=True)
    data = Dataset.from_dict({"anchor": list(users), "positive": list(items)})

    def work() -> int:
        with tempfile.TemporaryDirectory() as output:
            said = SentenceTransformerTrainingArguments(output, **AS_GIVEN)
            loss = MultipleNegativesRankingLoss(model)
            SentenceTransformerTrainer(
                model=model, args=said, train_dataset=data, loss=loss
            ).train()
        return len(data)

    serve(work)


def encoding(encode: Callable[[list[str]], Any], folder: Path) -> None:
    """Serve encoding all titles; say how far vectors are from coldlm's, and how many of the ten nearest they keep."""
    titles = read(folder, "titles")
    vectors = F.normalize(torch.as_tensor(np.asarray(encode(titles))))
    own = torch.from_numpy(np.load(folder / "vectors-torch.npy"))
    some = slice(0, 1000)
    each = zip(nearest(own, some).tolist(), nearest(vectors, some).tolist(), strict=True)
    kept = np.mean([len(set(a) & set(b)) / 10 for a, b in each])

    def work() -> int:
        encode(titles)
        return len(titles)

    serve(work, difference=f"{float((vectors - own).abs().max()):.0e}", neighbours=f"{kept:.3f}")


def nearest(vectors: torch.Tensor, some: slice) -> torch.Tensor:
    cosine = vectors[some] @ vectors.T
    cosine[torch.arange(len(cosine)), torch.arange(len(vectors))[some]] = -2
    return cosine.topk(10, 1).indices


def st_encode(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(read(folder, "encoder"), device=DEVICE)
    encoding(lambda titles: model.encode(titles, batch_size=64), folder)


def onnx(folder: Path, bits: int) -> None:
    """ONNX Runtime on the model as torch exports it, texts sorted by length; of 8 bits by dynamic quantisation."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from torch.export import Dim
    from transformers import AutoModel, AutoTokenizer

    path = read(folder, "encoder")
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    example, free = (
        tokenizer(["a text", "another longer text"], padding=True, return_tensors="pt"),
        Dim.DYNAMIC,
    )
    names = ["input_ids", "attention_mask"]
    with tempfile.TemporaryDirectory() as made, torch.no_grad():
        file, small = f"{made}/model.onnx", f"{made}/small.onnx"
        torch.onnx.export(
            model, (), file, kwargs={name: example[name] for name in names}, dynamo=True, external_data=False,
            dynamic_shapes={name: {0: free, 1: free} for name in names}, verbose=False,
        )  # fmt: skip
        if bits == 8:
            quantize_dynamic(file, small, weight_type=QuantType.QInt8, per_channel=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(
            small if bits == 8 else file, options, ["CPUExecutionProvider"]
        )

    def encode(titles: list[str]) -> Any:
        order = np.argsort([len(title) for title in titles], kind="stable")
        out = np.empty((len(titles), model.config.hidden_size), np.float32)
        for part in np.split(order, range(64, len(order), 64)):
            ids = tokenizer(
                [titles[i] for i in part], padding=True, truncation=True, return_tensors="np"
            )
            hidden = session.run(None, {name: ids[name] for name in names})[0]
            mask = ids["attention_mask"][:, :, None].astype(np.float32)
            out[part] = (hidden * mask).sum(1) / mask.sum(1)
        return out

    encoding(encode, folder)


def metrics(value: Callable[[Any, Any], float], folder: Path) -> None:
    """Serve the mean nDCG@10 of all rows, from scores to value."""
    scores, positive = np.load(folder / "scores.npy"), np.load(folder / "positive.npy")

    def work() -> int:
        value(scores, positive)
        return len(scores)

    serve(work, value=f"{value(scores, positive):.9f}")


def torchmetrics(folder: Path) -> None:
    from torchmetrics.retrieval import RetrievalNormalizedDCG

    def value(scores: Any, positive: Any) -> float:
        metric, (n, width) = RetrievalNormalizedDCG(top_k=10), scores.shape
        target = torch.zeros(n, width, dtype=torch.int64)
        target[torch.arange(n), torch.from_numpy(positive)] = 1
        index = torch.arange(n)[:, None].expand(n, width)
        return float(
            metric(torch.from_numpy(scores).flatten(), target.flatten(), indexes=index.flatten())
        )

    metrics(value, folder)


def best(scores: Any) -> tuple[Any, Any]:
    """The ten best items of each row, best first, and their scores: what the libraries that read lists are given."""
    found = torch.from_numpy(scores).topk(10, 1)
    return found.indices.numpy(), found.values.numpy()


def ranx(folder: Path) -> None:
    from ranx import Qrels, Run, evaluate

    def value(scores: Any, positive: Any) -> float:
        items, values = best(scores)
        taken = Qrels({str(q): {str(item): 1} for q, item in enumerate(positive)})
        lists = Run({
            str(q): {str(i): float(v) for i, v in zip(*row, strict=True)}
            for q, row in enumerate(zip(items, values, strict=True))
        })  # fmt: skip
        return float(evaluate(taken, lists, "ndcg@10"))

    metrics(value, folder)


def rectools(folder: Path) -> None:
    import pandas as pd
    from rectools.metrics import NDCG

    def value(scores: Any, positive: Any) -> float:
        (items, _), n = best(scores), len(scores)
        lists = pd.DataFrame({
            "user_id": np.repeat(np.arange(n), 10), "item_id": items.ravel(), "rank": np.tile(np.arange(1, 11), n),
        })  # fmt: skip
        taken = pd.DataFrame({"user_id": np.arange(n), "item_id": positive})
        return float(NDCG(k=10, divide_by_achievable=True).calc(lists, taken))

    metrics(value, folder)


WORK: dict[str, Callable[[Path], None]] = {
    "plain_loop": plain_loop,
    "hf_trainer": hf_trainer,
    "st_trainer": st_trainer,
    "st_encode": st_encode,
    "onnx": lambda folder: onnx(folder, 32),
    "onnx_int8": lambda folder: onnx(folder, 8),
    "torchmetrics": torchmetrics,
    "ranx": ranx,
    "rectools": rectools,
}

if __name__ == "__main__":
    WORK[sys.argv[1]](Path(sys.argv[2]))
