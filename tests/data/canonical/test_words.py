from __future__ import annotations

import numpy as np

from coldlm.core.seeding import generator
from coldlm.data.canonical.words import PER_TOPIC, TITLE_WORDS, VOCABULARY, write


def test_no_word_belongs_to_two_topics() -> None:
    for topics in VOCABULARY.values():
        words = [word for topic in topics for word in topic]
        assert [len(topic) for topic in topics] == [PER_TOPIC] * 12
        assert len(set(words)) == len(words)


def test_full_signal_takes_every_word_from_the_own_topic_and_title_comes_first() -> None:
    titles, texts = write(generator(0, "t"), np.array([[0.0, 1.0]]), 1.0, "en", 12)
    words = texts[0].replace(",", "").lower().split()
    assert len(set(words)) == 12
    assert set(words) <= set(VOCABULARY["en"][1])
    assert texts[0].startswith(titles[0] + ", ")
    assert len(titles[0].split()) == TITLE_WORDS


def test_no_signal_gives_all_topics_the_same_words_on_average() -> None:
    mixtures = np.tile([[1.0, 0.0]], (500, 1))
    _, texts = write(generator(0, "t"), mixtures, 0.0, "en", 10)
    words = " ".join(texts).replace(",", "").lower().split()
    share = np.mean([word in VOCABULARY["en"][0] for word in words])
    assert abs(share - 0.5) < 0.03  # 5,000 words: one standard deviation is 0.007


def test_language_is_one_of_the_two_or_mixed_by_row() -> None:
    mixtures = np.full((50, 2), 0.5)

    def chinese(language: str) -> int:
        return sum(
            not text.isascii() for text in write(generator(0, "t"), mixtures, 1.0, language, 8)[1]
        )

    assert (chinese("en"), chinese("zh")) == (0, 50)
    assert 10 < chinese("both") < 40
