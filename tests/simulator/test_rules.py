from pathlib import Path

import pytest

from simulator.rules import SHIPPED, Rules, words

WHOLE = """
greeting = "Hello."
still_there = "There?"
not_understood = "Pardon?"
unknown = "No idea."
tool_failed = "Failed."
script = ["a"]
[[rule]]
name = "a"
hear = ["Good day!", "hello"]
say = "Day."
[tools]
look = ["It is {colour}."]
"""


def load(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return Rules.load(path)


def test_a_file_becomes_rules(tmp_path: Path) -> None:
    rules = load(tmp_path, WHOLE)
    assert rules.phrases == ("good day", "hello")
    assert rules.named("a").say == ("Day.",)
    assert rules.tool_lines["look"][0].fields == {"colour"}
    assert rules.lines == ("Hello.", "There?", "Pardon?", "No idea.", "Failed.", "Day.")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('greeting = "Hello."', "", "greeting must be a text"),
        ('greeting = "Hello."', "greeting = 3", "greeting must be a text"),
        ('greeting = "Hello."', 'greeting = "Hello."\nfarewell = "x"', "farewell is unknown"),
        ('script = ["a"]', 'script = ["b"]', "script names 'b'"),
        ('say = "Day."', "", "rule 'a'.say is missing"),
        ('say = "Day."', 'say = "Day."\nreply = "x"', "rule 1.reply is unknown"),
        ('say = "Day."', 'say = "Day."\nrepeat = 1', "rule 'a'.repeat must be true or false"),
        ('say = "Day."', 'say = "Day."\narguments = 1', "rule 'a'.arguments must be a table"),
        ('hear = ["Good day!", "hello"]', "hear = []", "rule 'a'.hear must be one or more phrases"),
        ('hear = ["Good day!", "hello"]', 'hear = "?"', "rule 'a'.hear must be one or more phrases"),
        ("{colour}", "{colour", "tools.look has a line with a wrong brace"),
        ("{colour}", "{0}", "tools.look has the field '0'"),
        ("{colour}", "{a.b}", "tools.look has the field 'a.b'"),
        ("[[rule]]", "[[rule", "mine.toml is not TOML"),
    ],
)
def test_an_error_names_the_file_and_the_key(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in WHOLE
    with pytest.raises(ValueError, match=r"mine\.toml") as caught:
        load(tmp_path, WHOLE.replace(old, new))
    assert problem in str(caught.value)


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two rules named 'a'"):
        load(tmp_path, WHOLE.replace("[tools]", '[[rule]]\nname = "a"\nhear = "x"\nsay = "y"\n[tools]'))


def test_an_unknown_name_has_no_rule(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        load(tmp_path, WHOLE).named("b")


def test_words_are_small_and_without_punctuation() -> None:
    assert words("What’s up, Doc — now?") == ["what's", "up", "doc", "now"]


def test_no_phrase_of_the_shipped_dialogue_belongs_to_two_rules() -> None:
    rules = Rules.load(SHIPPED)
    spoken = [" ".join(words(phrase)) for rule in rules.rules for phrase in rule.hear]
    assert len(spoken) == len(set(spoken)) == len(rules.phrases)
