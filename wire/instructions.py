"""What the assistant is told to say at moments that nobody has asked it about. Instructions of one response.

They replace the session's own for that response, so most of them begin with these.
"""

WRAP_UP = (
    "The call has to end now, because {}. Tell the caller so in one short and friendly sentence, in the language of "
    "the conversation, say goodbye, and stop."
)
GOODBYE = (
    "The call ends now. Say goodbye in one short and friendly sentence, in the language of the conversation."
)
REPROMPT = (
    "The caller has been silent for a while. Ask in one short sentence, in the language of the conversation, whether "
    "they are still there and what you can do for them. Do not repeat what you have said before word for word."
)
UNHEARD = (
    "The caller may just have said something that you did not hear, or nothing yet. Tell them in one short sentence, "
    "in the language of the conversation, that you have heard nothing, and ask them to say it again. Say nothing of "
    "the connection."
)
NOBODY_THERE = (
    "The caller has been silent for long and does not answer. Say in one short sentence, in the language of the "
    "conversation, that you end the call because you cannot hear anybody, say goodbye, and stop."
)
RESUME = (
    "What interrupted your last answer was a noise; the caller has said nothing. Go on with that answer in "
    "mid-sentence, exactly where it was cut off. Repeat nothing, and do not mention the interruption."
)
ANNOUNCE = (
    "The call begins. Your first words to the caller are exactly these, in this language, with nothing before them: "
    "{} Go on with your greeting."
)


def word_for_word(text: str) -> str:
    """Have exactly this said. Needs nothing of the session's own instructions."""
    return f"Say exactly these words to the caller and then stop: {quoted(text)}"


def quoted(text: str) -> str:
    """In quotation marks, which end where the text does."""
    return '"{}"'.format(text.replace('"', "'"))


def adding(instructions: str, moment: str) -> str:
    """The session's own instructions, with what is special about this moment."""
    return f"{instructions}\n\n{moment}"
