"""Which characters a reader does not see, and how to show them.

Ranges instead of Unicode's property files, which the standard library does not have: default-ignorable characters,
format characters without a glyph, blank fillers, private use.  Everything that a finding quotes goes through `visible`.
"""

from __future__ import annotations

import re
import unicodedata

SOFT_HYPHEN = "\u00ad"
MARKS = "\u061c\u200e\u200f"
OVERRIDES = "\u202d\u202e"
BIDI = MARKS + OVERRIDES + "\u202a-\u202c\u2066-\u2069"
SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
TAGS = "\U000e0000-\U000e007f"
PRIVATE = "\ue000-\uf8ff\U000f0000-\U0010ffff"
ZERO_WIDTH = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
)
HIDDEN = ZERO_WIDTH + BIDI + SELECTORS + TAGS + PRIVATE

# Letters of scripts that write words with spaces and never need a joiner: Latin, Greek, Cyrillic, Armenian, Georgian, full-width forms.
PLAIN = (
    "0-9A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0370-\u058f\u10a0-\u10ff\u1c80-\u1cbf\u1d00-\u1dbf\u1e00-\u1fff"
)
PLAIN += "\u2c60-\u2c7f\ua640-\ua69f\ua720-\ua7ff\uff10-\uff19\uff21-\uff3a\uff41-\uff5a"

_PLAIN = re.compile(f"[{PLAIN}]")
HIDDEN_RUN = re.compile(f"[{HIDDEN}]+")
_SHOWN_RUN = re.compile(f"[{HIDDEN}\x00-\x1f\x7f-\x9f\u2028\u2029\U000e0000-\U000e0fff\ud800-\udfff]+")
_RUN_SHOWN = 6


def is_plain(sign: str) -> bool:
    """Whether it is a letter or digit next to which no invisible character is needed; "" is not."""
    return _PLAIN.match(sign) is not None and sign.isalnum()


def is_complex(sign: str) -> bool:
    """Whether it is a letter or mark of a script that may need joiners, breaks or bidi marks (Arabic, Indic, Thai, Han and so on)."""
    return sign >= "\u0590" and not is_plain(sign) and (sign.isalpha() or unicodedata.category(sign)[0] in "MN")


def is_pictorial(sign: str) -> bool:
    """Whether it is an emoji or a symbol, which joiners and variation selectors are made for."""
    return sign >= "\u00a9" and (unicodedata.category(sign) in ("So", "Sk", "Sm") or sign in "\u203c\u2049\u2139\u3030\u303d\u20e3")


def code_point(sign: str) -> str:
    """U+200B and the like."""
    return f"U+{ord(sign):04X}"


def visible(text: str, also: frozenset[int] = frozenset()) -> str:
    """The text with every hidden or control character, and those at the positions `also`, as ⟨U+200B⟩; long runs are cut."""
    if also:
        text = "".join(f"⟨{code_point(sign)}⟩" if at in also else sign for at, sign in enumerate(text))
    return _SHOWN_RUN.sub(lambda run: _named(run.group()), text)


def _named(run: str) -> str:
    if run.isspace():
        return " "
    shown = "".join(f"⟨{code_point(sign)}⟩" for sign in run[:_RUN_SHOWN])
    return shown if len(run) <= _RUN_SHOWN else f"{shown}⟨and {len(run) - _RUN_SHOWN} more⟩"


def decoded(run: str) -> str:
    """What tag characters or variation selectors spell, as printable ASCII (anything else is a backslash escape)."""
    return "".join(part for sign in run if (part := _decoded(ord(sign))))


def _decoded(point: int) -> str:
    if 0xE0000 <= point <= 0xE007F:
        value = point - 0xE0000
        return chr(value) if 0x20 <= value < 0x7F else ""
    value = point - 0xFE00 if 0xFE00 <= point <= 0xFE0F else point - 0xE0100 + 16 if 0xE0100 <= point <= 0xE01EF else -1
    return "" if value < 0 else chr(value) if 0x20 <= value < 0x7F else f"\\x{value:02x}"
