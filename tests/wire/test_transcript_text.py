"""The conversation for people."""

from dataclasses import replace

from wire.transcript import Entry, ToolUse
from wire.transcript_text import Spoken, plain_text, web_vtt

CALLER = Spoken(Entry("i1", "caller", "Tom & Ann <hi>", "Tom & Ann <hi>", 0, 0), 1.0, 2.25)
ANSWER = Spoken(Entry("i2", "assistant", "Yes, we do.", "Yes, we do.", 1500, 1500), 3.0, 4.5)
CUT_OFF = Spoken(
    Entry("i3", "assistant", "We open at nine and close at six.", "We open at", 900, 4000), 3725.5, 3726.4
)
TOOL = Spoken(Entry("i4", "tool", "", "", 0, 0, tool=ToolUse("c1", "look_up", '{"id": 1}', '"late"')), 5, 6)


def test_the_text_says_when_and_who_and_what_was_not_heard() -> None:
    assert plain_text([CALLER, ANSWER, TOOL, CUT_OFF]) == (
        "00:00:01.0  Caller     Tom & Ann <hi>\n"
        "00:00:03.0  Assistant  Yes, we do.\n"
        '00:00:05.0  Tool       look_up({"id": 1}) = "late"\n'
        "01:02:05.5  Assistant  We open at [0.9 of 4.0 s heard; unheard: nine and close at six.]\n"
    )


def test_the_text_shows_what_is_not_known() -> None:
    failed = Spoken(Entry("i1", "caller", "", "", 0, 0, failed=True), None, None)
    no_answer = replace(TOOL, entry=replace(TOOL.entry, tool=ToolUse("c1", "f", "{}")))
    assert plain_text([failed, no_answer]) == (
        "            Caller     [could not be transcribed]\n00:00:05.0  Tool       f({}) = no answer\n"
    )


def test_what_is_withheld_is_in_neither() -> None:
    spoken = [replace(each, withheld=True) for each in (CALLER, TOOL, CUT_OFF)]
    for text in plain_text(spoken), web_vtt(spoken):
        assert "[not recorded]" in text
        assert not any(word in text for word in ("Tom", "late", "id", "nine", "open"))


def test_the_captions_show_what_was_heard_when_it_was() -> None:
    assert web_vtt([CALLER, TOOL, ANSWER, CUT_OFF]) == (
        "WEBVTT\n"
        "\n00:00:01.000 --> 00:00:02.250\n<v Caller>Tom &amp; Ann &lt;hi&gt;\n"
        "\n00:00:03.000 --> 00:00:04.500\n<v Assistant>Yes, we do.\n"
        "\n01:02:05.500 --> 01:02:06.400\n<v Assistant>We open at –\n"
    )


def test_a_caption_always_has_a_time_and_a_length() -> None:
    unknown = replace(CALLER, began=None, ended=None)
    early = replace(CALLER, began=-0.2, ended=-0.1)
    assert web_vtt([early, ANSWER, unknown]).count("-->") == 3
    assert "00:00:04.500 --> 00:00:05.000\n<v Caller>" in web_vtt([ANSWER, unknown])
    assert "00:00:00.000 --> 00:00:00.500\n<v Caller>" in web_vtt([early])


def test_a_blank_line_in_what_was_said_does_not_end_its_caption() -> None:
    split = replace(CALLER, entry=Entry("i1", "caller", "a\n\nb --> c", "a\n\nb --> c", 0, 0))
    assert web_vtt([split]).endswith("<v Caller>a b --&gt; c\n")


def test_what_nobody_heard_has_no_caption() -> None:
    unheard = replace(ANSWER, entry=Entry("i2", "assistant", "Yes.", "", 0, 900))
    assert web_vtt([unheard]) == "WEBVTT\n"
