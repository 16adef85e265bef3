"""Chunks: whole sentences, a word limit, an overlap, nothing lost."""

from hypothesis import given
from hypothesis import strategies as st

from components.retrieval.chunking import chunk_text


def test_chunks_end_at_sentences_and_repeat_the_last_ones():
    text = "One two three. Four five six. Seven eight nine. Ten eleven."
    # limit 6: sentences 1+2; overlap 3 words = sentence 2; 2+3; 3+4
    assert chunk_text(text, words=6, overlap_words=3) == [
        "One two three. Four five six.",
        "Four five six. Seven eight nine.",
        "Seven eight nine. Ten eleven.",
    ]


def test_a_sentence_longer_than_a_chunk_is_cut():
    assert chunk_text("a b c d e", words=2, overlap_words=0) == ["a b", "c d", "e"]


@given(st.text(max_size=400), st.integers(1, 12), st.integers(0, 12))
def test_no_chunk_is_too_long_and_no_word_is_lost(text, words, overlap):
    chunks = chunk_text(text, words=words, overlap_words=overlap)
    assert all(0 < len(chunk.split()) <= words for chunk in chunks)
    assert set(text.split()) == {word for chunk in chunks for word in chunk.split()}
