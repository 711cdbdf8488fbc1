"""Texts as ragged token ids."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from coldlm.models.backbone import tiny
from coldlm.text.tokens import blocks, tokenize


@pytest.fixture(scope="module")
def english() -> Any:
    """A WordPiece tokenizer that knows five English word pieces: [PAD] 0, [CLS] 1, [SEP] 2, [UNK]
    3, then the words."""
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "space", "ad", "##venture", "the", "sea"]
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    )


@pytest.fixture(scope="module")
def bytes_causal() -> Any:
    return tiny(family="gpt2").tokenizer


def _rows(tokens: Any) -> list[list[int]]:
    return [
        tokens.ids[a:b].tolist() for a, b in zip(tokens.start[:-1], tokens.start[1:], strict=True)
    ]


def test_ids_are_ragged_and_hold_no_padding(english: Any) -> None:
    tokens = tokenize(["Space adventure", "", "the sea"], english, 10, causal=False)
    assert _rows(tokens) == [[1, 4, 5, 6, 2], [1, 2], [1, 7, 8, 2]]
    assert tokens.lengths.tolist() == [5, 2, 4]
    assert (tokens.lost, tokens.unknown) == (0, 0.0)
    assert tokens.ids.dtype == tokens.start.dtype == np.int64


def test_a_cut_text_keeps_its_closing_token_and_the_lost_tokens_are_counted(english: Any) -> None:
    tokens = tokenize(["the sea the sea the sea", "the sea"], english, 5, causal=False)
    assert _rows(tokens) == [[1, 7, 8, 7, 2], [1, 7, 8, 2]]
    assert tokens.lost == 3


def test_chinese_is_unknown_to_an_english_vocabulary_and_known_to_bytes(
    english: Any, bytes_causal: Any
) -> None:
    assert tokenize(["the sea 大海"], english, 10, causal=False).unknown == 2 / 4
    assert tokenize(["大海", "space"], english, 10, causal=False).unknown == 2 / 3
    assert tokenize([""], english, 10, causal=False).unknown == 0
    assert tokenize(["the sea 大海"], bytes_causal, 30, causal=True).unknown == 0


def test_a_causal_text_ends_with_end_of_text_even_if_it_is_empty_or_cut(bytes_causal: Any) -> None:
    end = bytes_causal.eos_token_id
    plain, empty, cut = _rows(tokenize(["ab", "", "abcdefgh"], bytes_causal, 4, causal=True))
    assert (plain[-1], empty, cut[-1]) == (end, [end], end)
    assert [len(plain), len(cut)] == [3, 4]
    assert end not in plain[:-1] + cut[:-1]
    assert tokenize(["abcdefgh"], bytes_causal, 4, causal=True).lost == 5


def test_a_huge_text_is_not_tokenized_whole(english: Any) -> None:
    begin = time.perf_counter()
    tokens = tokenize(["the sea " * 1_000_000], english, 8, causal=False)
    assert time.perf_counter() - begin < 1
    assert _rows(tokens) == _rows(tokenize(["the sea " * 4], english, 8, causal=False))


lengths = st.lists(st.integers(1, 20), min_size=1, max_size=60).map(
    lambda sizes: np.array(sizes, np.int64)
)


@given(lengths, st.integers(20, 80), st.integers(1, 4))
def test_blocks_hold_every_text_once_and_fit_it(sizes: np.ndarray, tokens: int, step: int) -> None:
    made = blocks(sizes, tokens, step)
    assert sorted(np.concatenate([places for places, _, _ in made]).tolist()) == list(
        range(len(sizes))
    )
    for places, rows, length in made:
        assert len(places) <= rows
        assert rows * length <= max(tokens, length)
        assert length % step == 0
        assert (sizes[places] <= length).all()
        assert (sizes[places] > length - step).all()


@given(lengths, lengths)
def test_texts_behind_never_change_the_row_or_the_shape_of_those_in_front(
    first: np.ndarray, more: np.ndarray
) -> None:
    def place(sizes: np.ndarray) -> dict[int, tuple[int, int, int, tuple[int, ...]]]:
        return {
            int(p): (row, rows, length, tuple(places[:row].tolist()))
            for places, rows, length in blocks(sizes, 40, 2)
            for row, p in enumerate(places)
        }

    alone, together = place(first), place(np.concatenate([first, more]))
    assert all(together[p] == alone[p] for p in alone)
