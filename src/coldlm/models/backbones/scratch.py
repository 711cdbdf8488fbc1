"""Models and tokenizers that are made here: tokens of single bytes or learned byte pairs, and
random weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

END = "<|endoftext|>"
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
MASK = "[MASK]"


def byte_tokenizer(family: str) -> Any:
    """Return one token per byte, no merges: works for every language, needs no file."""
    causal = family == "gpt2"
    symbols = [END] if causal else [*SPECIAL]
    symbols += sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    return _wrap(
        Tokenizer(models.BPE(vocabulary, [], unk_token=None if causal else "[UNK]")), family
    )


def train_tokenizer(texts: Iterable[str], size: int, family: str) -> Any:
    """Byte pairs, merged as often as ``texts`` allow up to ``size`` tokens (Sennrich et al. 2016,
    on bytes as in GPT-2): works for every language. A model that is not causal gets a token that
    stands for hidden ones."""
    causal = family == "gpt2"
    tokenizer = Tokenizer(models.BPE(unk_token=None if causal else "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special: Any = [END] if causal else [*SPECIAL, MASK]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrap(tokenizer, family)


def random_model(
    family: str, tokenizer: Any, *, layers: int, width: int, heads: int, positions: int
) -> Any:
    """Return a BERT, RoBERTa or GPT-2 of this shape for the tokens of ``tokenizer``; its weights
    are torch's next draws."""
    if family == "gpt2":
        return GPT2Model(
            GPT2Config(
                vocab_size=len(tokenizer),
                n_positions=positions,
                n_embd=width,
                n_layer=layers,
                n_head=heads,
                bos_token_id=tokenizer.eos_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        )
    config_class: Any = BertConfig if family == "bert" else RobertaConfig
    model_class: Any = BertModel if family == "bert" else RobertaModel
    return model_class(
        config_class(
            vocab_size=len(tokenizer),
            max_position_embeddings=positions,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            pad_token_id=tokenizer.pad_token_id,
            type_vocab_size=1,
        ),
        add_pooling_layer=False,
    )


def _wrap(tokenizer: Tokenizer, family: str) -> Any:
    """The tokenizer as transformers wants it: byte-level, closed by special tokens unless the model
    is causal."""
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrap: Any = PreTrainedTokenizerFast
    if family == "gpt2":
        return wrap(tokenizer_object=tokenizer, eos_token=END)
    ends: Any = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=f"[CLS] $A [SEP]{' [SEP]' if family == 'roberta' else ''} $B:1 [SEP]:1",
        special_tokens=ends,
    )
    mask = {} if tokenizer.token_to_id(MASK) is None else {"mask_token": MASK}
    return wrap(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        **mask,
    )
