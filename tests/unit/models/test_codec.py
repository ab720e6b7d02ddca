"""Text to tokens: the tiny word-level codec, and a pretrained tokenizer's chat template as a frame."""

from __future__ import annotations

import pytest

from tests.support.small_tokenizer import CHAT_TEMPLATE, small_tokenizer
from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.errors import UserError
from webshop_rl.models.chat_codec import ChatCodec
from webshop_rl.models.tiny_codec import TinyCodec

TINY = TinyCodec(Shop5().texts(), 4096)


def test_words_of_the_shop_are_one_token_each() -> None:
    assert len(TINY.encode("search [ red shoes ]")) == 5
    assert TINY.encode("Red, SHOES!") == [TINY.encode(t)[0] for t in ("red", ",", "shoes", "!")]
    assert TINY.decode(TINY.encode("click[buy now]")) == "click [ buy now ]"


def test_other_words_are_spelt_and_come_back() -> None:
    ids = TINY.encode("xylophone")
    assert len(ids) == 9
    assert TINY.decode(ids) == "xylophone"
    assert TINY.encode("café") == TINY.encode("cafe")


def test_a_text_is_encoded_as_a_whole_would_be() -> None:
    """Parts between separators are kept; together they are what the tokenizer makes of the text."""
    texts = ["", "[SEP]", "a [SEP] red shoes[SEP][SEP] a ", "<act>[SEP] back to search [SEP] <page>", "[sep]"]
    for text in [*texts, *texts]:
        assert TINY.encode(text) == TINY._tokenizer.encode(text, add_special_tokens=False).ids
    made = TINY.encode("red [SEP] shoes")
    made.clear()  # what is given away is not what is kept
    assert len(TINY.encode("red [SEP] shoes")) == 3


def test_marks_are_single_tokens_and_not_for_free_text() -> None:
    for mark in ("<pad>", "<unk>", "<bos>", "<page>", "<act>"):
        (token,) = TINY.encode(mark)
        assert token in TINY.special
    assert len(TINY.encode("<think>")) == len(TINY.encode("</think>")) == len(TINY.encode("[SEP]")) == 1
    assert TINY.end not in TINY.special
    assert not set(TINY.encode("<think></think>")) & TINY.special
    assert max(TINY.special) < TINY.vocab_size


def test_tiny_frame() -> None:
    bos, page, act = (TINY.encode(t)[0] for t in ("<bos>", "<page>", "<act>"))
    red = TINY.encode("red")
    assert TINY.frame_opening("advice", "red") == [bos, *red, act]
    assert TINY.frame_page("red", reply_ended=True) == [page, *red, act]
    assert TINY.frame_page("red", reply_ended=False) == [TINY.end, page, *red, act]


def test_words_to_be_kept_whole_are_so_however_rare() -> None:
    texts = ["red shoes"] * 5
    spelled = TinyCodec(texts, 300)
    whole = TinyCodec(texts, 300, whole=["opened: {}"])
    assert len(spelled.encode("opened: red")) > 3
    assert len(whole.encode("opened: red")) == 3
    assert whole.decode(whole.encode("opened: red")) == spelled.decode(spelled.encode("opened: red"))


def test_vocabulary_keeps_the_most_frequent_words_and_is_the_same_each_time() -> None:
    texts = ["zebra zebra yak yak xerus", "yak"]
    small = TinyCodec(texts, TinyCodec(texts, 0).vocab_size + 1)
    assert [len(small.encode(w)) for w in ("yak", "zebra")] == [1, 5]
    assert small.encode("yak") == TinyCodec(texts, 10_000).encode("yak")
    whole = TinyCodec(texts, 10_000)
    assert all(len(whole.encode(w)) == 1 for w in ("yak", "zebra", "xerus"))
    # Of equally frequent words the first in word order has the smaller number.
    even = TinyCodec(["b a"], 10_000)
    assert even.vocab_size == TinyCodec(["a b"], 10_000).vocab_size


@pytest.fixture(scope="module")
def chat() -> ChatCodec:
    return ChatCodec(small_tokenizer())


def test_chat_frame_is_the_template_around_replies_that_are_never_rendered(chat: ChatCodec) -> None:
    tokenizer = small_tokenizer()
    messages = [
        {"role": "system", "content": "advice"},
        {"role": "user", "content": "page one"},
        {"role": "assistant", "content": "search[red]"},
        {"role": "user", "content": "page two"},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    reply = chat.encode("search[red]")
    built = [
        *chat.frame_opening("advice", "page one"), *reply, chat.end,
        *chat.frame_page("page two", reply_ended=True),
    ]  # fmt: skip
    assert built == tokenizer.encode(text, add_special_tokens=False)
    assert chat.frame_page("x", reply_ended=False) == [chat.end, *chat.frame_page("x", reply_ended=True)]


def test_chat_codec_round_trip_and_marks(chat: ChatCodec) -> None:
    assert chat.decode([*chat.encode("click[buy now]"), chat.end]) == "click[buy now]"
    assert chat.end not in chat.special
    assert chat.pad in chat.special
    assert not set(chat.encode("<think> a </think>")) & chat.special


def test_without_a_template_a_plain_frame_is_used() -> None:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = None
    codec = ChatCodec(tokenizer)
    assert codec.decode(codec.frame_opening("advice", "page")) == "advice\n\npage\nAction: "
    assert codec.decode(codec.frame_page("page", reply_ended=True)) == "\npage\nAction: "


def test_a_template_that_closes_replies_otherwise_is_refused() -> None:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE.replace("<|im_end|>", "</s>")
    with pytest.raises(UserError, match="closes a reply"):
        ChatCodec(tokenizer)
    tokenizer = small_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="end-of-sequence"):
        ChatCodec(tokenizer)
