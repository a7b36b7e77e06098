"""Texts that attacks must cope with, and a strategy that draws from them and from anything else, lone surrogates included."""

from hypothesis import strategies as st

MAIL = "Dear all,\n\nthe  meeting on Tuesday has moved to the small room. Please bring your own cups and spoons!  Is that fine?\n"
CHINESE = "会议改到星期二下午。请大家自己带杯子和勺子。"
ARABIC = "انتقل الاجتماع إلى الغرفة الصغيرة. هل يناسبكم ذلك؟"
HEBREW = "הפגישה עברה לחדר הקטן. נא להביא כוסות."
HINDI = "बैठक छोटे कमरे में होगी। कृपया कप लाएँ।"
LONG_WORD = "donaudampfschifffahrt" * 400
EDGES = ("", " \n\t", "a", "\ud800 is half a pair", "cafe\u0301", "!" * 3000 + "x", MAIL, CHINESE, ARABIC, HEBREW, HINDI, LONG_WORD)

any_text = st.sampled_from(EDGES) | st.text(st.characters())
