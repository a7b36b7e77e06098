"""Which column is content and which is target: the usual names, and the user's word above them."""

from __future__ import annotations

import pytest

from dataaudit.errors import ConfigurationError
from dataaudit.model import Columns, Shard
from dataaudit.sources.contract import Field
from dataaudit.sources.detection import decide

TEXT, LABEL, IMAGE, VECTOR = Field("text", chars=200, distinct=1), Field("integer"), Field("bytes"), Field("vector")


def shard(kind: str) -> Shard:
    return Shard("x", f"x.{kind}", kind, 0, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "modality", "columns", "kind"),
    [
        ({"image": IMAGE, "label": LABEL, "text": TEXT}, "labelled-images", Columns("image", "label"), "label"),
        ({"image": IMAGE, "caption": TEXT}, "captioned-images", Columns("image", "caption"), "text"),
        ({"image": IMAGE}, "labelled-images", Columns("image"), "none"),
        ({"image": TEXT, "text": TEXT, "label": LABEL}, "labelled-text", Columns("text", "label"), "label"),  # a path is no image
        (
            {"text": TEXT, "instruction": TEXT, "input": TEXT, "output": TEXT},
            "instructions",
            Columns("instruction+input", "output"),
            "text",
        ),
        ({"input": TEXT, "target": TEXT}, "instructions", Columns("input", "target"), "text"),
        ({"input": TEXT, "target": Field("text", chars=5, distinct=0.1)}, "labelled-text", Columns("input", "target"), "label"),
        ({"Text": TEXT, "Label": LABEL}, "labelled-text", Columns("Text", "Label"), "label"),
        ({"question": TEXT, "category": LABEL}, "labelled-text", Columns("question", "category"), "label"),
        ({"embedding": VECTOR}, "vectors", Columns(None, embedding="embedding"), "none"),
        ({"text": TEXT, "embedding": VECTOR}, "text", Columns("text"), "none"),
        ({"text": TEXT, "id": Field("text", unique=True)}, "text", Columns("text", id="id"), "none"),
        ({"text": TEXT, "id": Field("text"), "uid": Field("integer", unique=True)}, "text", Columns("text", id="uid"), "none"),
    ],
)
def test_usual_names(known: dict[str, Field], modality: str, columns: Columns, kind: str) -> None:
    assert decide(shard("parquet"), known, Columns(None)) == (modality, columns, kind)


def test_the_users_word_comes_first() -> None:
    known = {"text": TEXT, "title": TEXT, "label": LABEL, "stars": LABEL, "vec": VECTOR}
    assert decide(shard("jsonl"), known, Columns(None, "stars"))[1] == Columns("text", "stars")
    assert decide(shard("jsonl"), known, Columns("title"))[1] == Columns("title", "label")
    assert decide(shard("jsonl"), known, Columns("title+text"))[1] == Columns("title+text", "label")
    assert decide(shard("jsonl"), known, Columns(None, embedding="vec"))[1] == Columns("text", "label", None, "vec")
    assert decide(shard("jsonl"), {"vec": VECTOR, "stars": LABEL}, Columns(None, "stars", None, "vec"))[0] == "vectors"
    assert decide(shard("tar"), {"jpg": IMAGE, "cls": LABEL}, Columns(".JPG;png"))[0] == "labelled-images"


@pytest.mark.parametrize(
    "wanted", [Columns("body"), Columns(None, "body"), Columns(None, id="body"), Columns(None, embedding="body"), Columns("text+body")]
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(wanted: Columns) -> None:
    with pytest.raises(ConfigurationError, match=r"x\.jsonl: .*body.* there is 'text', 'label'"):
        decide(shard("jsonl"), {"text": TEXT, "label": LABEL}, wanted)


@pytest.mark.parametrize(
    ("held", "said"), [(Field("integer"), "'text' holds numbers"), (Field("other"), "'text' holds values of no or of several kinds")]
)
def test_a_column_called_like_content_that_holds_something_else_is_said_so(held: Field, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        decide(shard("jsonl"), {"text": held, "label": LABEL}, Columns(None))
